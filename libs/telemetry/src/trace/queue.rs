//! The spans that wait to be sent: how many there may be, and what became of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// How many spans may wait, how many do, and what became of the others.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    limit: usize,
    waiting: Arc<AtomicUsize>,
    exported: Counter,
    failed: Counter,
    dropped: Counter,
}

impl Queue {
    /// A queue whose counters `registry` shows.
    pub(super) fn new(limit: usize, registry: &mut Registry) -> Self {
        let spans = Family::<OutcomeLabel, Counter>::default();
        let counter = |outcome| spans.get_or_create(&OutcomeLabel { outcome }).clone();
        let waiting = Arc::default();
        let (exported, failed, dropped) = (counter("exported"), counter("failed"), counter("dropped"));
        registry.register("spans", "Spans for OpenTelemetry, by what became of them", spans);
        Self { limit, waiting, exported, failed, dropped }
    }

    /// Whether one more may wait. One that may not is counted as dropped.
    pub(super) fn admits(&self) -> bool {
        let is_full = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit;
        if is_full {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped();
        }
        !is_full
    }

    /// A span is not sent, because too much has to wait.
    pub(super) fn dropped(&self) {
        self.dropped.inc();
    }
}

/// An exporter that counts.
#[derive(Debug)]
pub(super) struct Counted<E> {
    exporter: E,
    queue: Queue,
    is_failing: AtomicBool,
}

impl<E> Counted<E> {
    pub(super) fn new(exporter: E, queue: Queue) -> Self {
        Self { exporter, queue, is_failing: AtomicBool::new(false) }
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        let outcome = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.queue.exported.inc_by(spans as u64);
                if was_failing {
                    tracing::info!("spans can be exported again");
                }
            }
            Err(error) => {
                self.queue.failed.inc_by(spans as u64);
                if !was_failing {
                    tracing::warn!(%error, "spans cannot be exported");
                }
            }
        }
        outcome
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
