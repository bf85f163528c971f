//! Invalid metrics pages. Other endpoints are not affected.

use std::time::Duration;

use signalbox_collector::ScrapeConfig;
use signalbox_state::ScrapeStatus;

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{TIMEOUT, assigned, start_collector_with};

/// Checks that an endpoint whose page becomes `bad` is stale until the page is valid again.
async fn assert_stale_until_recovery(bad: Page, scrape: ScrapeConfig) -> FakeModelServer {
    let good = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let neighbor = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let endpoints = vec![assigned("pod", 1, &good), assigned("neighbor", 1, &neighbor)];
    let aggregator = FakeAggregator::start(endpoints);
    let collector = start_collector_with(&[aggregator.address()], scrape).await;
    let wait_for_status = async |wanted| {
        aggregator
            .wait_for("the scrape status", |received| {
                (received.merged_update("pod").scrape_status == wanted).then_some(())
            })
            .await;
    };
    wait_for_status(ScrapeStatus::Fresh).await;
    good.set_page(bad);
    wait_for_status(ScrapeStatus::Stale).await;
    aggregator.wait_for("gauges of the neighbor", |received| received.latest_gauges("neighbor")).await;
    neighbor.wait_for_requests(5).await;
    let reports = aggregator.with_received(|received| received.reports("neighbor").len());
    assert_eq!(reports, 1, "the neighbor is still scraped and its values did not change");
    good.set_page(Page::Gauges { waiting: 0, running: 2 });
    wait_for_status(ScrapeStatus::Fresh).await;
    collector.shutdown().await;
    good
}

/// Long timeouts, so that only an invalid page makes values stale.
const LONG_TIMEOUTS: ScrapeConfig = ScrapeConfig {
    interval: Duration::from_millis(50),
    timeout: TIMEOUT,
    max_page_bytes: 16 << 20,
    stale_after: TIMEOUT,
};

#[tokio::test(flavor = "multi_thread")]
async fn page_without_metrics_is_invalid() {
    assert_stale_until_recovery(Page::Text("<html><body>Welcome</body></html>"), LONG_TIMEOUTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_another_engine_are_invalid() {
    assert_stale_until_recovery(Page::Text("up 1\nsglang:num_queue_reqs 0\n"), LONG_TIMEOUTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn error_status_is_invalid() {
    assert_stale_until_recovery(Page::Status(503), LONG_TIMEOUTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_page_is_not_read_to_the_end() {
    let server = assert_stale_until_recovery(Page::Bytes(100 << 20), LONG_TIMEOUTS).await;
    let attempts = server.requests();
    assert!(
        server.sent_bytes() < attempts * (40 << 20),
        "the page was read to the end: {} bytes",
        server.sent_bytes()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_fast_page_is_invalid() {
    assert_stale_until_recovery(Page::Bytes(usize::MAX), LONG_TIMEOUTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_slow_page_is_invalid() {
    let short_timeout = ScrapeConfig { timeout: Duration::from_millis(500), ..LONG_TIMEOUTS };
    assert_stale_until_recovery(Page::Trickle, short_timeout).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_endpoint_is_stale_after_the_configured_time() {
    let short_timeout = ScrapeConfig {
        timeout: Duration::from_millis(200),
        stale_after: Duration::from_millis(800),
        ..LONG_TIMEOUTS
    };
    let pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 1 });
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = start_collector_with(&[aggregator.address()], short_timeout).await;
    aggregator.wait_for("the first gauges", |received| received.latest_gauges("pod")).await;
    pod.set_page(Page::Silence);
    let age_ms = aggregator.wait_for("the stale status", |received| {
        let last = received.reports("pod").last().copied().cloned()?;
        (last.update.scrape_status == ScrapeStatus::Stale).then_some(last.age_ms)
    });
    assert!(age_ms.await >= 800, "the age is that of the values");
    collector.shutdown().await;
}
