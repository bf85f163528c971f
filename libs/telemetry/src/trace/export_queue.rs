//! Bounds the queue of spans to export, and counts what happens to spans.

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

/// The size of the export queue and counters of the spans that have left it.
#[derive(Clone, Debug)]
pub(super) struct ExportQueue {
    limit: usize,
    waiting: Arc<AtomicUsize>,
    exported: Counter,
    failed: Counter,
    dropped: Counter,
}

impl ExportQueue {
    /// Returns a queue for up to `limit` spans and registers its counters.
    pub(super) fn new(limit: usize, registry: &mut Registry) -> Self {
        let spans = Family::<OutcomeLabel, Counter>::default();
        let counter = |outcome| spans.get_or_create(&OutcomeLabel { outcome }).clone();
        let waiting = Arc::default();
        let (exported, failed, dropped) = (counter("exported"), counter("failed"), counter("dropped"));
        registry.register(
            "spans",
            "OpenTelemetry spans by outcome: exported, failed or dropped because the queue was full",
            spans,
        );
        Self { limit, waiting, exported, failed, dropped }
    }

    /// Reserves a place for a span and returns whether there was one; otherwise counts the span as dropped.
    pub(super) fn reserve(&self) -> bool {
        let is_full = self.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit;
        if is_full {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.count_dropped();
        }
        !is_full
    }

    /// Counts a span that is dropped because a queue is full.
    pub(super) fn count_dropped(&self) {
        self.dropped.inc();
    }
}

/// An exporter that counts the spans it exports.
#[derive(Debug)]
pub(super) struct CountingExporter<E> {
    exporter: E,
    queue: ExportQueue,
    is_failing: AtomicBool,
}

impl<E> CountingExporter<E> {
    pub(super) fn new(exporter: E, queue: ExportQueue) -> Self {
        Self { exporter, queue, is_failing: AtomicBool::new(false) }
    }
}

impl<E: SpanExporter> SpanExporter for CountingExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        let outcome = self.exporter.export(batch).await;
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.queue.exported.inc_by(spans as u64);
                if was_failing {
                    tracing::info!("span export recovered");
                }
            }
            Err(error) => {
                self.queue.failed.inc_by(spans as u64);
                if !was_failing {
                    tracing::warn!(%error, "cannot export spans");
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
