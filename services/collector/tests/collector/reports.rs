//! Reports of healthy endpoints.

use std::net::SocketAddr;

use signalbox_state::{AssignedEndpoint, ScrapeStatus};
use signalbox_types::{Capacity, Engine, Gauges, Incarnation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{TIMEOUT, assigned, start_collector};

#[tokio::test(flavor = "multi_thread")]
async fn first_report_is_complete_and_later_ones_contain_only_changes() {
    let pod = FakeModelServer::start(Page::Gauges { waiting: 2, running: 7 });
    let aggregator = FakeAggregator::start(vec![assigned("pod", 5, &pod)]);
    let collector = start_collector(&[aggregator.address()]).await;
    let first = aggregator.wait_for("the first report", |received| {
        let first =
            received.reports("pod").first().map(|report| (report.generation.0, report.update.clone()));
        first.filter(|(generation, _)| *generation == 5)
    });
    let (_, first) = first.await;
    assert_eq!(first.gauges, Some(Gauges { waiting: 2, running: Some(7), kv_used_ppm: Some(500_000) }));
    assert_eq!(
        (first.capacity, first.scrape_status),
        (Some(Capacity { kv_tokens: 1_600 }), ScrapeStatus::Fresh)
    );
    assert_eq!(first.incarnation, Incarnation(1_700_000_000_000));

    pod.wait_for_requests(10).await;
    assert_eq!(aggregator.with_received(|received| received.reports("pod").len()), 1);

    pod.set_page(Page::Gauges { waiting: 2, running: 8 });
    aggregator
        .wait_for("the changed gauges", |received| {
            received.latest_gauges("pod").filter(|gauges| *gauges == (2, 8))
        })
        .await;
    let reports =
        aggregator.with_received(|received| received.reports("pod").into_iter().cloned().collect::<Vec<_>>());
    assert_eq!((reports.len(), reports[1].update.capacity), (2, None));
    assert_eq!(pod.connections(), 1, "the connection is reused");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_server_delays_no_other() {
    let silent = FakeModelServer::start(Page::Silence);
    let pods = [0, 1, 2].map(|_| FakeModelServer::start(Page::Gauges { waiting: 0, running: 0 }));
    let mut endpoints = vec![assigned("silent", 1, &silent)];
    endpoints.extend(pods.iter().enumerate().map(|(number, pod)| assigned(&format!("pod-{number}"), 1, pod)));
    let aggregator = FakeAggregator::start(endpoints);
    let collector = start_collector(&[aggregator.address()]).await;
    aggregator.wait_for("gauges of pod-0", |received| received.latest_gauges("pod-0")).await;
    for running in 1..20 {
        for (number, pod) in pods.iter().enumerate() {
            pod.set_page(Page::Gauges { waiting: 0, running });
            let name = format!("pod-{number}");
            aggregator
                .wait_for("the changed gauges", |received| {
                    received.latest_gauges(&name).filter(|g| *g == (0, running))
                })
                .await;
        }
    }
    assert_eq!(silent.requests(), 1, "the first request is still pending");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_server_is_down_and_becomes_fresh_after_a_restart() {
    let mut pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = start_collector(&[aggregator.address()]).await;
    for _ in 0..2 {
        aggregator
            .wait_for("fresh", |received| {
                (received.merged_update("pod").scrape_status == ScrapeStatus::Fresh).then_some(())
            })
            .await;
        pod.kill();
        aggregator
            .wait_for("down", |received| {
                (received.merged_update("pod").scrape_status == ScrapeStatus::Down).then_some(())
            })
            .await;
        pod.restart();
    }
    aggregator
        .wait_for("fresh", |received| {
            (received.merged_update("pod").scrape_status == ScrapeStatus::Fresh).then_some(())
        })
        .await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_metrics_count_endpoints_scrapes_and_streams() {
    let mut killed = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    killed.kill();
    let pods = [1, 2].map(|running| FakeModelServer::start(Page::Gauges { waiting: 0, running }));
    let endpoints =
        vec![assigned("a", 1, &pods[0]), assigned("b", 1, &pods[1]), assigned("killed", 1, &killed)];
    let aggregator = FakeAggregator::start(endpoints);
    let collector = start_collector(&[aggregator.address()]).await;
    let address = collector.metrics_address();
    let names = ["a", "b", "killed"];
    aggregator
        .wait_for("reports of all endpoints", |received| {
            names.iter().all(|name| !received.reports(name).is_empty()).then_some(())
        })
        .await;
    let lines = [
        "signalbox_collector_endpoints{scrape_status=\"fresh\"} 2",
        "signalbox_collector_endpoints{scrape_status=\"down\"} 1",
        "signalbox_collector_streams_opened_total 1",
        "signalbox_collector_scrapes_total{outcome=\"success\"}",
        "signalbox_collector_scrapes_total{outcome=\"refused\"}",
    ];
    wait_for_metrics(address, &lines).await;
    aggregator.assign(1, vec![assigned("c", 1, &pods[0])]);
    aggregator.wait_for("gauges of the only endpoint", |received| received.latest_gauges("c")).await;
    let lines = [
        "signalbox_collector_endpoints{scrape_status=\"fresh\"} 1",
        "signalbox_collector_endpoints{scrape_status=\"down\"} 0",
    ];
    wait_for_metrics(address, &lines).await;
    collector.shutdown().await;
}

/// Waits until the collector's own metrics contain these lines.
async fn wait_for_metrics(address: SocketAddr, lines: &[&str]) {
    let exported = async {
        loop {
            let page = metrics_page(address).await;
            if lines.iter().all(|line| page.contains(line)) {
                break;
            }
        }
    };
    tokio::time::timeout(TIMEOUT, exported).await.expect("the metrics contain the lines");
}

async fn metrics_page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}

#[tokio::test(flavor = "multi_thread")]
async fn engine_without_a_start_time_is_idle_before_its_first_request_and_new_after_a_restart() {
    let pod = FakeModelServer::start(Page::Text("# TYPE tgi_queue_size gauge\n"));
    let tgi = AssignedEndpoint { engine: Engine::Tgi, ..assigned("pod", 1, &pod) };
    let aggregator = FakeAggregator::start(vec![tgi]);
    let collector = start_collector(&[aggregator.address()]).await;
    let first = aggregator.wait_for("the first report", |received| {
        received.reports("pod").first().map(|report| report.update.clone())
    });
    let first = first.await;
    let idle = Gauges { waiting: 0, running: Some(0), kv_used_ppm: None };
    assert_eq!((ScrapeStatus::Fresh, Some(idle)), (first.scrape_status, first.gauges));
    assert_eq!(Incarnation(0), first.incarnation);
    pod.set_page(Page::Text("tgi_queue_size 2\ntgi_batch_current_size 1\ntgi_request_count 9\n"));
    aggregator
        .wait_for("the gauges", |received| received.latest_gauges("pod").filter(|gauges| *gauges == (2, 1)))
        .await;
    pod.set_page(Page::Text("tgi_queue_size 0\ntgi_batch_current_size 0\ntgi_request_count 1\n"));
    aggregator
        .wait_for("the new incarnation", |received| {
            (received.merged_update("pod").incarnation != Incarnation(0)).then_some(())
        })
        .await;
    collector.shutdown().await;
}
