//! What the collector says of itself.

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
struct ReachLabel {
    scrape_status: &'static str,
}

/// The collector's metrics; a clone shares the values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    scrapes: Family<OutcomeLabel, Counter>,
    endpoints: Family<ReachLabel, Gauge>,
    /// Messages sent to an aggregator, signs of life included.
    pub(crate) messages: Counter,
    /// Reports in these messages.
    pub(crate) reports: Counter,
    /// Streams opened to an aggregator.
    pub(crate) streams: Counter,
    /// Streams and attempts to open one that failed.
    pub(crate) stream_failures: Counter,
    /// Actors started again after a failure.
    pub(crate) restarts: Counter,
}

impl Metrics {
    /// Adds all to `registry`.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("scrapes", "Attempts to read a model server, by outcome", self.scrapes.clone());
        registry.register("endpoints", "Model servers, by how well they can be read", self.endpoints.clone());
        registry.register("messages", "Messages sent to an aggregator", self.messages.clone());
        registry.register("reports", "Reports sent to an aggregator", self.reports.clone());
        registry.register("streams", "Streams opened to an aggregator", self.streams.clone());
        registry.register(
            "stream_failures",
            "Streams to an aggregator that broke or could not be opened",
            self.stream_failures.clone(),
        );
        registry.register("actor_restarts", "Actors started again after a failure", self.restarts.clone());
    }

    /// Counts an attempt to read a model server.
    pub(crate) fn scraped(&self, reading: &ScrapeResult) {
        let outcome = match reading {
            ScrapeResult::Sampled(_) => "sampled",
            ScrapeResult::Late => "late",
            ScrapeResult::Unusable => "unusable",
            ScrapeResult::Refused => "refused",
        };
        self.scrapes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    fn endpoints(&self, scrape_status: ScrapeStatus) -> Gauge {
        self.endpoints.get_or_create_owned(&ReachLabel { scrape_status: name(scrape_status) })
    }
}

/// The word for it in labels and logs.
pub(crate) fn name(scrape_status: ScrapeStatus) -> &'static str {
    match scrape_status {
        ScrapeStatus::Unknown => "unknown",
        ScrapeStatus::Fresh => "fresh",
        ScrapeStatus::Stale => "stale",
        ScrapeStatus::Down => "down",
    }
}

/// One model server's place in the gauge of model servers; dropped, it counts no more.
#[derive(Debug)]
pub(crate) struct Standing {
    metrics: Arc<Metrics>,
    scrape_status: ScrapeStatus,
}

impl Standing {
    /// A model server that nobody has read yet.
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        let scrape_status = ScrapeStatus::Unknown;
        metrics.endpoints(scrape_status).inc();
        Self { metrics, scrape_status }
    }

    /// It can now be read like this.
    pub(crate) fn turn(&mut self, scrape_status: ScrapeStatus) {
        self.metrics.endpoints(self.scrape_status).dec();
        self.metrics.endpoints(scrape_status).inc();
        self.scrape_status = scrape_status;
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.metrics.endpoints(self.scrape_status).dec();
    }
}
