//! Servers that redirect, compress, or are reached by a host name.

use signalbox_state::{AssignedEndpoint, ScrapeStatus};

use crate::fake_aggregator::FakeAggregator;
use crate::fake_model_server::{FakeModelServer, Page};
use crate::{assigned, start_collector};

/// Waits until a collector reports this number of running requests for the endpoint.
async fn assert_runs(assigned: AssignedEndpoint, running: u32) {
    let aggregator = FakeAggregator::start(vec![assigned]);
    let collector = start_collector(&[aggregator.address()]).await;
    let is_it = |gauges: &(u32, u32)| gauges.1 == running;
    aggregator.wait_for("the gauges", |received| received.latest_gauges("pod").filter(is_it)).await;
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed() {
    for to in ["/moved/metrics", "moved/metrics"] {
        let pod = FakeModelServer::start(Page::Redirect(to));
        assert_runs(assigned("pod", 1, &pod), 7).await;
        assert_eq!(1, pod.requests(), "the next scrapes go where the first one was sent");
    }
    let pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 3 });
    let url: &'static str = pod.url().leak();
    let elsewhere = FakeModelServer::start(Page::Redirect(url));
    assert_runs(assigned("pod", 1, &elsewhere), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_to_another_host_is_refused() {
    let other = FakeModelServer::start(Page::Gauges { waiting: 0, running: 3 });
    let url: &'static str = other.url().replace("127.0.0.1", "localhost").leak();
    let pod = FakeModelServer::start(Page::Redirect(url));
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = start_collector(&[aggregator.address()]).await;
    let is_stale = |status: ScrapeStatus| (status == ScrapeStatus::Stale).then_some(());
    aggregator
        .wait_for("the scrape status", |received| is_stale(received.merged_update("pod").scrape_status))
        .await;
    collector.shutdown().await;
    assert_eq!(0, other.requests(), "the other host is not asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_in_a_circle_are_invalid_until_they_end() {
    let pod = FakeModelServer::start(Page::Redirect("/metrics"));
    let aggregator = FakeAggregator::start(vec![assigned("pod", 1, &pod)]);
    let collector = start_collector(&[aggregator.address()]).await;
    for (page, wanted) in
        [(None, ScrapeStatus::Stale), (Some(Page::Gauges { waiting: 0, running: 1 }), ScrapeStatus::Fresh)]
    {
        page.into_iter().for_each(|page| pod.set_page(page));
        let has_status = |status: ScrapeStatus| (status == wanted).then_some(());
        aggregator
            .wait_for("the scrape status", |received| has_status(received.merged_update("pod").scrape_status))
            .await;
    }
    collector.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_page_is_read() {
    let pod = FakeModelServer::start(Page::Gzip { waiting: 2, running: 5 });
    assert_runs(assigned("pod", 1, &pod), 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn host_name_is_reached_at_whichever_address_accepts() {
    // The name can also stand for [::1], where nobody listens.
    let pod = FakeModelServer::start(Page::Gauges { waiting: 0, running: 4 });
    let metrics_url = pod.url().replace("127.0.0.1", "localhost");
    assert_runs(AssignedEndpoint { metrics_url, ..assigned("pod", 1, &pod) }, 4).await;
}
