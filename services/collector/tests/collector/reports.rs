//! What is reported of model servers that behave.

use std::net::SocketAddr;

use signalbox_state::ScrapeStatus;
use signalbox_types::{Capacity, Gauges, Incarnation};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::aggregator::Aggregator;
use crate::model_server::{Answer, ModelServer};
use crate::{PATIENCE, assigned, collector};

#[tokio::test(flavor = "multi_thread")]
async fn a_first_reading_is_reported_whole_and_then_only_what_changed() {
    let pod = ModelServer::start(Answer::Gauges { waiting: 2, running: 7 });
    let aggregator = Aggregator::start(vec![assigned("pod", 5, &pod)]);
    let collector = collector(&[aggregator.address()]).await;
    let known = aggregator.hears("the first reading", |record| {
        let first =
            record.reports_of("pod").first().map(|report| (report.generation.0, report.update.clone()));
        first.filter(|(generation, _)| *generation == 5)
    });
    let (_, first) = known.await;
    assert_eq!(first.gauges, Some(Gauges { waiting: 2, running: 7, kv_used_ppm: Some(500_000) }));
    assert_eq!(
        (first.capacity, first.scrape_status),
        (Some(Capacity { kv_tokens: 1_600 }), ScrapeStatus::Fresh)
    );
    assert_eq!(first.incarnation, Incarnation(1_700_000_000_000));

    pod.asked_again(10).await;
    assert_eq!(aggregator.so_far(|record| record.reports_of("pod").len()), 1);

    pod.answer(Answer::Gauges { waiting: 2, running: 8 });
    aggregator.hears("the change", |record| record.gauges_of("pod").filter(|gauges| *gauges == (2, 8))).await;
    let reports =
        aggregator.so_far(|record| record.reports_of("pod").into_iter().cloned().collect::<Vec<_>>());
    assert_eq!((reports.len(), reports[1].update.capacity), (2, None));
    assert_eq!(pod.connections(), 1, "one connection is kept");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_delays_nobody() {
    let silent = ModelServer::start(Answer::Silence);
    let pods = [0, 1, 2].map(|_| ModelServer::start(Answer::Gauges { waiting: 0, running: 0 }));
    let mut endpoints = vec![assigned("silent", 1, &silent)];
    endpoints.extend(pods.iter().enumerate().map(|(number, pod)| assigned(&format!("pod-{number}"), 1, pod)));
    let aggregator = Aggregator::start(endpoints);
    let collector = collector(&[aggregator.address()]).await;
    aggregator.hears("pod 0", |record| record.gauges_of("pod-0")).await;
    for running in 1..20 {
        for (number, pod) in pods.iter().enumerate() {
            pod.answer(Answer::Gauges { waiting: 0, running });
            let name = format!("pod-{number}");
            aggregator
                .hears("a change", |record| record.gauges_of(&name).filter(|g| *g == (0, running)))
                .await;
        }
    }
    assert_eq!(silent.requests(), 1, "its first answer is still waited for");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_down_and_fresh_once_it_is_back() {
    let mut pod = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    let aggregator = Aggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = collector(&[aggregator.address()]).await;
    for _ in 0..2 {
        aggregator
            .hears("fresh", |record| {
                (record.known_of("pod").scrape_status == ScrapeStatus::Fresh).then_some(())
            })
            .await;
        pod.kill();
        aggregator
            .hears("down", |record| {
                (record.known_of("pod").scrape_status == ScrapeStatus::Down).then_some(())
            })
            .await;
        pod.restart();
    }
    aggregator
        .hears("fresh", |record| (record.known_of("pod").scrape_status == ScrapeStatus::Fresh).then_some(()))
        .await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_own_metrics_count_what_it_reads_and_how() {
    let mut killed = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    killed.kill();
    let pods = [1, 2].map(|running| ModelServer::start(Answer::Gauges { waiting: 0, running }));
    let endpoints =
        vec![assigned("a", 1, &pods[0]), assigned("b", 1, &pods[1]), assigned("killed", 1, &killed)];
    let aggregator = Aggregator::start(endpoints);
    let collector = collector(&[aggregator.address()]).await;
    let address = collector.metrics_address();
    let names = ["a", "b", "killed"];
    aggregator
        .hears("all", |record| names.iter().all(|name| !record.reports_of(name).is_empty()).then_some(()))
        .await;
    let lines = [
        "signalbox_collector_endpoints{scrape_status=\"fresh\"} 2",
        "signalbox_collector_endpoints{scrape_status=\"down\"} 1",
        "signalbox_collector_streams_total 1",
        "signalbox_collector_scrapes_total{outcome=\"sampled\"}",
        "signalbox_collector_scrapes_total{outcome=\"refused\"}",
    ];
    shows(address, &lines).await;
    aggregator.assign(1, vec![assigned("c", 1, &pods[0])]);
    aggregator.hears("the only one", |record| record.gauges_of("c")).await;
    let lines = [
        "signalbox_collector_endpoints{scrape_status=\"fresh\"} 1",
        "signalbox_collector_endpoints{scrape_status=\"down\"} 0",
    ];
    shows(address, &lines).await;
    collector.shutdown().await;
}

/// Waits until the collector's own metrics have these lines.
async fn shows(address: SocketAddr, lines: &[&str]) {
    let shown = async {
        loop {
            let page = metrics_page(address).await;
            if lines.iter().all(|line| page.contains(line)) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, shown).await.expect("the metrics show it");
}

async fn metrics_page(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).await.unwrap();
    page
}
