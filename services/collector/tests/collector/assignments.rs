//! Changes of the assignment.

use signalbox_state::AssignedEndpoint;
use signalbox_types::Generation;

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{assigned, start_collector};

fn server(running: u32) -> FakeModelServer {
    FakeModelServer::start(Page::Gauges { waiting: 0, running })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changed_endpoints_are_affected() {
    let (removed, kept, reassigned, moved, new) = (server(1), server(2), server(3), server(4), server(5));
    let endpoints = vec![
        assigned("removed", 1, &removed),
        assigned("kept", 1, &kept),
        assigned("reassigned", 1, &reassigned),
        assigned("moved", 1, &moved),
    ];
    let aggregator = FakeAggregator::start(endpoints);
    let collector = start_collector(&[aggregator.address()]).await;
    let all = ["removed", "kept", "reassigned", "moved"];
    aggregator
        .wait_for("gauges of all endpoints", |received| {
            all.iter().all(|name| received.latest_gauges(name).is_some()).then_some(())
        })
        .await;

    let moved_to = server(6);
    let endpoints = vec![
        assigned("kept", 1, &kept),
        assigned("reassigned", 2, &reassigned),
        assigned("moved", 1, &moved_to),
        assigned("new", 1, &new),
    ];
    aggregator.assign(1, endpoints);
    aggregator.wait_for("gauges of the new endpoint", |received| received.latest_gauges("new")).await;
    aggregator
        .wait_for("gauges of the moved endpoint", |received| {
            received.latest_gauges("moved").filter(|g| *g == (0, 6))
        })
        .await;
    let resent = aggregator.wait_for("the report under the new generation", |received| {
        received.reports("reassigned").into_iter().find(|report| report.generation == Generation(2)).cloned()
    });
    let resent = resent.await.update;
    assert!(
        resent.gauges.is_some() && resent.capacity.is_some(),
        "the first report of a generation is complete"
    );

    let (removed_before, moved_before) = (removed.requests(), moved.requests());
    kept.wait_for_requests(10).await;
    assert!(removed.requests() <= removed_before + 1 && moved.requests() <= moved_before + 1);
    assert_eq!(aggregator.with_received(|received| received.reports("kept").len()), 1);
    assert_eq!((kept.connections(), reassigned.connections()), (1, 1));
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn earlier_owner_receives_the_higher_epoch_and_is_ignored() {
    let (first, second) = (server(1), server(2));
    let aggregator = FakeAggregator::start(vec![]);
    let collector = start_collector(&[aggregator.address()]).await;
    aggregator.assign(9, vec![assigned("first", 1, &first)]);
    aggregator.wait_for("gauges of the first endpoint", |received| received.latest_gauges("first")).await;
    aggregator.assign(8, vec![assigned("second", 1, &second)]);
    first.wait_for_requests(10).await;
    assert_eq!(second.requests(), 0);
    aggregator
        .wait_for("a message with the higher epoch", |received| {
            received.messages.last().filter(|message| message.epoch == 9).map(drop)
        })
        .await;
    aggregator.assign(10, vec![assigned("second", 1, &second)]);
    aggregator.wait_for("gauges of the second endpoint", |received| received.latest_gauges("second")).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_url_affects_only_its_own_endpoint() {
    let good = server(1);
    let mut bad = assigned("bad", 1, &good);
    bad.metrics_url = "ftp://somewhere/metrics".to_owned();
    let aggregator = FakeAggregator::start(vec![bad, assigned("good", 1, &good)]);
    let collector = start_collector(&[aggregator.address()]).await;
    aggregator.wait_for("gauges of the good endpoint", |received| received.latest_gauges("good")).await;
    aggregator
        .wait_for("a report of the bad endpoint", |received| {
            (!received.reports("bad").is_empty()).then_some(())
        })
        .await;
    collector.shutdown().await;
}

/// The list names one endpoint again and again, because ten thousand model servers would be too many for this test.
#[tokio::test(flavor = "multi_thread")]
async fn assignment_of_ten_thousand_endpoints_of_2_kib_arrives() {
    let pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let last = assigned("pod", 2, &pod);
    let long = AssignedEndpoint { name: "p".repeat(2_048), generation: Generation(1), ..last.clone() };
    let aggregator = FakeAggregator::start(vec![long; 9_999].into_iter().chain([last]).collect());
    let collector = start_collector(&[aggregator.address()]).await;
    aggregator.wait_for("gauges", |received| received.latest_gauges("pod")).await;
    assert_eq!(1, aggregator.with_received(|received| received.streams));
    collector.shutdown().await;
}
