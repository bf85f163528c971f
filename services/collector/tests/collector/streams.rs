//! The stream to an aggregator.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{assigned, start_collector};

#[tokio::test(flavor = "multi_thread")]
async fn new_stream_starts_with_all_known_values() {
    let pods = [1, 2, 3].map(|running| FakeModelServer::start(Page::Gauges { waiting: 0, running }));
    let names = ["pod-0", "pod-1", "pod-2"];
    let endpoints = names.iter().zip(&pods).map(|(name, pod)| assigned(name, 1, pod)).collect();
    let aggregator = FakeAggregator::start(endpoints);
    let collector = start_collector(&[aggregator.address()]).await;
    for stream in 1..=3 {
        aggregator
            .wait_for("the values of all endpoints", |received| {
                let is_complete = |name| {
                    let merged = received.merged_update(name);
                    merged.gauges.is_some() && merged.capacity.is_some()
                };
                (received.streams == stream && names.iter().all(|name| is_complete(name))).then_some(())
            })
            .await;
        aggregator.end_streams();
    }
    assert!(pods.iter().all(|pod| pod.connections() == 1), "scraping continued on the same connections");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_aggregator_is_tried_when_one_is_unreachable() {
    let pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let unreachable = closed_port().await;
    let first = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let second = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = start_collector(&[unreachable, first.address(), second.address()]).await;
    first.wait_for("gauges at the first aggregator", |received| received.latest_gauges("pod")).await;
    assert_eq!(second.with_received(|received| received.streams), 0);
    drop(first);
    second.wait_for("gauges at the second aggregator", |received| received.latest_gauges("pod")).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_messages_are_sent_when_there_is_nothing_to_report() {
    let aggregator = FakeAggregator::start(vec![]);
    let collector = start_collector(&[aggregator.address()]).await;
    let names_match = aggregator.wait_for("empty messages", |received| {
        let empty = received.messages.iter().filter(|message| message.reports.is_empty());
        (empty.count() >= 4)
            .then(|| received.messages.iter().all(|message| message.collector == "under-test"))
    });
    assert!(names_match.await);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_collectors_run_in_one_process_and_shut_down() {
    let aggregator = FakeAggregator::start(vec![]);
    let first = start_collector(&[aggregator.address()]).await;
    let second = start_collector(&[aggregator.address()]).await;
    assert_ne!(first.metrics_address(), second.metrics_address());
    aggregator.wait_for("both streams", |received| (received.streams == 2).then_some(())).await;
    first.shutdown().await;
    second.shutdown().await;
}

/// Returns the address of a closed port.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
