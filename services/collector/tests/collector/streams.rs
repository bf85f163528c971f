//! What becomes of the stream to an aggregator.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::aggregator::Aggregator;
use crate::model_server::{Answer, ModelServer};
use crate::{assigned, collector};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_stream_begins_with_everything_that_is_known() {
    let pods = [1, 2, 3].map(|running| ModelServer::start(Answer::Gauges { waiting: 0, running }));
    let names = ["pod-0", "pod-1", "pod-2"];
    let endpoints = names.iter().zip(&pods).map(|(name, pod)| assigned(name, 1, pod)).collect();
    let aggregator = Aggregator::start(endpoints);
    let collector = collector(&[aggregator.address()]).await;
    for stream in 1..=3 {
        aggregator
            .hears("everything", |record| {
                let whole = |name| {
                    let known = record.known_of(name);
                    known.gauges.is_some() && known.capacity.is_some()
                };
                (record.streams == stream && names.iter().all(|name| whole(name))).then_some(())
            })
            .await;
        aggregator.end_streams();
    }
    assert!(pods.iter().all(|pod| pod.connections() == 1), "reading went on meanwhile");
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_aggregator_is_tried_when_one_is_not_there() {
    let pod = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    let nobody = closed_port().await;
    let first = Aggregator::start(vec![assigned("pod", 1, &pod)]);
    let second = Aggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = collector(&[nobody, first.address(), second.address()]).await;
    first.hears("the first", |record| record.gauges_of("pod")).await;
    assert_eq!(second.so_far(|record| record.streams), 0);
    drop(first);
    second.hears("the second", |record| record.gauges_of("pod")).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signs_of_life_come_without_anything_to_report() {
    let aggregator = Aggregator::start(vec![]);
    let collector = collector(&[aggregator.address()]).await;
    let alive = aggregator.hears("signs of life", |record| {
        let empty = record.messages.iter().filter(|message| message.reports.is_empty());
        (empty.count() >= 4).then(|| record.messages.iter().all(|message| message.collector == "under-test"))
    });
    assert!(alive.await);
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_collectors_run_in_one_process_and_end_when_told() {
    let aggregator = Aggregator::start(vec![]);
    let first = collector(&[aggregator.address()]).await;
    let second = collector(&[aggregator.address()]).await;
    assert_ne!(first.metrics_address(), second.metrics_address());
    aggregator.hears("both", |record| (record.streams == 2).then_some(())).await;
    first.shutdown().await;
    second.shutdown().await;
}

/// A port on which nobody listens.
async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
