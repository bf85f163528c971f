//! The collector's own metrics.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use signalbox_state::{ScrapeResult, ScrapeStatus};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StatusLabel {
    scrape_status: &'static str,
}

/// The collector's metrics. Clones share the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    scrapes: Family<OutcomeLabel, Counter>,
    endpoints: Family<StatusLabel, Gauge>,
    /// Messages sent to an aggregator, including empty ones.
    pub(crate) messages_sent: Counter,
    /// Reports in these messages.
    pub(crate) reports_sent: Counter,
    /// Streams opened to an aggregator.
    pub(crate) streams_opened: Counter,
    pub(crate) epochs_refused: Counter,
    /// Streams that broke, and failed attempts to open one.
    pub(crate) stream_failures: Counter,
    /// Actors restarted after a failure.
    pub(crate) actor_restarts: Counter,
    /// Scrapers that failed. Their endpoints are stale until they are scraped again.
    pub(crate) scraper_failures: Counter,
}

impl Metrics {
    /// Adds all metrics to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "scrapes",
            "Scrapes of endpoints by outcome: success, timeout, invalid (not a valid metrics page) or refused",
            self.scrapes.clone(),
        );
        registry.register("endpoints", "Assigned endpoints by scrape status", self.endpoints.clone());
        registry.register(
            "messages_sent",
            "Messages sent to an aggregator, including empty ones that show that the collector is alive",
            self.messages_sent.clone(),
        );
        registry.register(
            "reports_sent",
            "Reports of changed endpoints sent to an aggregator",
            self.reports_sent.clone(),
        );
        registry.register(
            "epochs_refused",
            "Epochs of aggregators that were ignored, because they cannot be genuine",
            self.epochs_refused.clone(),
        );
        registry.register("streams_opened", "Streams opened to an aggregator", self.streams_opened.clone());
        registry.register(
            "stream_failures",
            "Streams to an aggregator that broke, were refused or could not be opened",
            self.stream_failures.clone(),
        );
        registry.register("actor_restarts", "Actors restarted after a failure", self.actor_restarts.clone());
        registry.register(
            "scraper_failures",
            "Failures of the actor that scrapes an endpoint, which is stale until it is scraped again",
            self.scraper_failures.clone(),
        );
    }

    /// Counts a scrape.
    pub(crate) fn record_scrape(&self, result: &ScrapeResult) {
        let outcome = match result {
            ScrapeResult::Sampled(_) => "success",
            ScrapeResult::NoResponse => "timeout",
            ScrapeResult::Unusable => "invalid",
            ScrapeResult::Refused => "refused",
        };
        self.scrapes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    fn endpoints(&self, scrape_status: ScrapeStatus) -> Gauge {
        self.endpoints.get_or_create_owned(&StatusLabel { scrape_status: status_name(scrape_status) })
    }
}

/// Returns the name of a scrape status in labels and logs.
pub(crate) fn status_name(scrape_status: ScrapeStatus) -> &'static str {
    match scrape_status {
        ScrapeStatus::Unknown => "unknown",
        ScrapeStatus::Fresh => "fresh",
        ScrapeStatus::Stale => "stale",
        ScrapeStatus::Down => "down",
    }
}

/// Counts one endpoint in the gauge of its scrape status until it is dropped.
#[derive(Debug)]
pub(crate) struct EndpointGauge {
    metrics: Arc<Metrics>,
    scrape_status: ScrapeStatus,
}

impl EndpointGauge {
    /// Counts an endpoint that was not scraped yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self::counted(metrics, ScrapeStatus::Unknown)
    }

    /// Counts an endpoint that nobody scrapes, because its scraper failed.
    pub(crate) fn stale(metrics: Arc<Metrics>) -> Self {
        Self::counted(metrics, ScrapeStatus::Stale)
    }

    fn counted(metrics: Arc<Metrics>, scrape_status: ScrapeStatus) -> Self {
        metrics.endpoints(scrape_status).inc();
        Self { metrics, scrape_status }
    }

    /// Moves the endpoint to the gauge of its new scrape status.
    pub(crate) fn set_status(&mut self, scrape_status: ScrapeStatus) {
        self.metrics.endpoints(self.scrape_status).dec();
        self.metrics.endpoints(scrape_status).inc();
        self.scrape_status = scrape_status;
    }
}

impl Drop for EndpointGauge {
    fn drop(&mut self) {
        self.metrics.endpoints(self.scrape_status).dec();
    }
}
