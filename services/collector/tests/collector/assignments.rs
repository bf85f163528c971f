//! What a change of the assignment touches.

use signalbox_types::Generation;

use crate::aggregator::Aggregator;
use crate::model_server::{Answer, ModelServer};
use crate::{assigned, collector};

fn pod(running: u32) -> ModelServer {
    ModelServer::start(Answer::Gauges { waiting: 0, running })
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_moved_is_touched() {
    let (gone, kept, handed_on, moved, new) = (pod(1), pod(2), pod(3), pod(4), pod(5));
    let endpoints = vec![
        assigned("gone", 1, &gone),
        assigned("kept", 1, &kept),
        assigned("handed-on", 1, &handed_on),
        assigned("moved", 1, &moved),
    ];
    let aggregator = Aggregator::start(endpoints);
    let collector = collector(&[aggregator.address()]).await;
    let all = ["gone", "kept", "handed-on", "moved"];
    aggregator
        .hears("all of them", |record| all.iter().all(|name| record.gauges_of(name).is_some()).then_some(()))
        .await;

    let moved_to = pod(6);
    let endpoints = vec![
        assigned("kept", 1, &kept),
        assigned("handed-on", 2, &handed_on),
        assigned("moved", 1, &moved_to),
        assigned("new", 1, &new),
    ];
    aggregator.assign(1, endpoints);
    aggregator.hears("the new one", |record| record.gauges_of("new")).await;
    aggregator.hears("the moved one", |record| record.gauges_of("moved").filter(|g| *g == (0, 6))).await;
    let restated = aggregator.hears("the one under a new generation", |record| {
        record.reports_of("handed-on").into_iter().find(|report| report.generation == Generation(2)).cloned()
    });
    let restated = restated.await.update;
    assert!(restated.gauges.is_some() && restated.capacity.is_some(), "it begins with everything");

    let (gone_before, moved_before) = (gone.requests(), moved.requests());
    kept.asked_again(10).await;
    assert!(gone.requests() <= gone_before + 1 && moved.requests() <= moved_before + 1);
    assert_eq!(aggregator.so_far(|record| record.reports_of("kept").len()), 1);
    assert_eq!((kept.connections(), handed_on.connections()), (1, 1));
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposed_owner_is_told_and_not_followed() {
    let (first, second) = (pod(1), pod(2));
    let aggregator = Aggregator::start(vec![]);
    let collector = collector(&[aggregator.address()]).await;
    aggregator.assign(9, vec![assigned("first", 1, &first)]);
    aggregator.hears("the first", |record| record.gauges_of("first")).await;
    aggregator.assign(8, vec![assigned("second", 1, &second)]);
    first.asked_again(10).await;
    assert_eq!(second.requests(), 0);
    aggregator
        .hears("the higher epoch", |record| {
            record.messages.last().filter(|message| message.epoch == 9).map(drop)
        })
        .await;
    aggregator.assign(10, vec![assigned("second", 1, &second)]);
    aggregator.hears("the second", |record| record.gauges_of("second")).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_cannot_be_read_spoils_only_its_own_endpoint() {
    let good = pod(1);
    let mut bad = assigned("bad", 1, &good);
    bad.metrics_url = "https://somewhere/metrics".to_owned();
    let aggregator = Aggregator::start(vec![bad, assigned("good", 1, &good)]);
    let collector = collector(&[aggregator.address()]).await;
    aggregator.hears("the good one", |record| record.gauges_of("good")).await;
    aggregator.hears("the bad one", |record| (!record.reports_of("bad").is_empty()).then_some(())).await;
    collector.shutdown().await;
}
