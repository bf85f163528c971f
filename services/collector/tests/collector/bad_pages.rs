//! Pages that are none. The server next door is always read as if nothing were.

use std::time::Duration;

use signalbox_collector::ScrapeConfig;
use signalbox_state::ScrapeStatus;

use crate::aggregator::Aggregator;
use crate::model_server::{Answer, ModelServer};
use crate::{PATIENCE, assigned, collector_with};

/// A server that was read well begins to answer like this: its values are stale, until it recovers.
async fn is_stale_until_it_recovers(bad: Answer, scrape: ScrapeConfig) -> ModelServer {
    let good = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    let neighbour = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    let endpoints = vec![assigned("pod", 1, &good), assigned("neighbour", 1, &neighbour)];
    let aggregator = Aggregator::start(endpoints);
    let collector = collector_with(&[aggregator.address()], scrape).await;
    let scrape_status = async |wanted| {
        aggregator
            .hears("a turn", |record| (record.known_of("pod").scrape_status == wanted).then_some(()))
            .await;
    };
    scrape_status(ScrapeStatus::Fresh).await;
    good.answer(bad);
    scrape_status(ScrapeStatus::Stale).await;
    aggregator.hears("the neighbour", |record| record.gauges_of("neighbour")).await;
    neighbour.asked_again(5).await;
    let reports = aggregator.so_far(|record| record.reports_of("neighbour").len());
    assert_eq!(reports, 1, "the neighbour is read as ever, and nothing changed there");
    good.answer(Answer::Gauges { waiting: 0, running: 2 });
    scrape_status(ScrapeStatus::Fresh).await;
    collector.shutdown().await;
    good
}

/// Patient, so that only an unusable page makes anything stale.
const PATIENT: ScrapeConfig = ScrapeConfig {
    interval: Duration::from_millis(50),
    deadline: PATIENCE,
    page_bytes: 16 << 20,
    stale_after: PATIENCE,
};

#[tokio::test(flavor = "multi_thread")]
async fn garbage() {
    is_stale_until_it_recovers(Answer::Text("<html><body>Welcome</body></html>"), PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_of_something_else() {
    is_stale_until_it_recovers(Answer::Text("up 1\nsglang:num_queue_reqs 0\n"), PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error() {
    is_stale_until_it_recovers(Answer::Status(503), PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes() {
    let server = is_stale_until_it_recovers(Answer::Bytes(100 << 20), PATIENT).await;
    let tries = server.requests();
    assert!(server.sent_bytes() < tries * (40 << 20), "it is not read to the end: {}", server.sent_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_pours_without_end() {
    is_stale_until_it_recovers(Answer::Bytes(usize::MAX), PATIENT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_trickles_without_end() {
    let hasty = ScrapeConfig { deadline: Duration::from_millis(500), ..PATIENT };
    is_stale_until_it_recovers(Answer::Trickle, hasty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_stale_only_after_a_while() {
    let hasty = ScrapeConfig {
        deadline: Duration::from_millis(200),
        stale_after: Duration::from_millis(800),
        ..PATIENT
    };
    let pod = ModelServer::start(Answer::Gauges { waiting: 0, running: 1 });
    let aggregator = Aggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = collector_with(&[aggregator.address()], hasty).await;
    aggregator.hears("a reading", |record| record.gauges_of("pod")).await;
    pod.answer(Answer::Silence);
    let age_ms = aggregator.hears("stale", |record| {
        let last = record.reports_of("pod").last().copied().cloned()?;
        (last.update.scrape_status == ScrapeStatus::Stale).then_some(last.age_ms)
    });
    assert!(age_ms.await >= 800, "the age tells how old the values are");
    collector.shutdown().await;
}
