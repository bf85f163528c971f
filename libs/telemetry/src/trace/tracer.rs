//! Starts spans and exports them when they end.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, Sampler, SamplingDecision,
    ShouldSample, SpanData, SpanLinks, SpanProcessor,
};
use prometheus_client::registry::Registry;

use super::error::TraceError;
use super::export_queue::{CountingExporter, ExportQueue};
use super::settings::TraceSettings;
use super::span::{Span, attributes, events};

/// Starts spans and exports ended ones, in batches from its own thread.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    propagator: TraceContextPropagator,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    queue: ExportQueue,
    processor: BatchSpanProcessor,
}

/// A sampled span that has not ended.
#[derive(Clone, Debug)]
pub struct ActiveSpan {
    name: &'static str,
    context: SpanContext,
    parent: Option<SpanId>,
    started: SystemTime,
}

/// The headers of a request, by name.
struct Headers<'a, F>(F, PhantomData<&'a str>);

impl<'a, F: Fn(&str) -> Option<&'a str>> Extractor for Headers<'a, F> {
    fn get(&self, name: &str) -> Option<&str> {
        self.0(name)
    }

    /// Parents are read from headers that are known by name.
    fn keys(&self) -> Vec<&str> {
        Vec::new()
    }
}

impl Tracer {
    /// Starts to export spans as configured by `settings`, under the instrumentation scope `scope`, and
    /// registers span counters at `registry`. Must be called within a Tokio runtime, which drives the
    /// connection.
    ///
    /// # Errors
    /// [`TraceError::Exporter`] if the endpoint is not a valid URL or a file for TLS cannot be used.
    pub fn start(
        settings: TraceSettings,
        scope: &'static str,
        registry: &mut Registry,
    ) -> Result<Self, TraceError> {
        let exporter = settings.destination.exporter()?;
        let queue = ExportQueue::new(settings.queue, registry);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(settings.batch)
            .with_scheduled_delay(settings.delay)
            .build();
        let mut processor = BatchSpanProcessor::new(CountingExporter::new(exporter, queue.clone()), batches);
        let attributes = settings.resource.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let sdk = Box::new(TelemetryResourceDetector);
        processor
            .set_resource(&Resource::builder_empty().with_detector(sdk).with_attributes(attributes).build());
        Ok(Self {
            sampler: settings.sampler,
            propagator: TraceContextPropagator::new(),
            ids: RandomIdGenerator::default(),
            scope: InstrumentationScope::builder(scope).build(),
            queue,
            processor,
        })
    }

    /// Starts the span `name` of a request with these headers, if it is sampled. Its parent is the span in the
    /// `traceparent` header.
    pub fn start_span<'a>(
        &self,
        name: &'static str,
        header: impl Fn(&str) -> Option<&'a str>,
    ) -> Option<ActiveSpan> {
        let context = self.propagator.extract_with_context(&Context::new(), &Headers(header, PhantomData));
        let span = context.span();
        let parent = Some(span.span_context()).filter(|parent| parent.is_valid());
        let trace_id = parent.map_or_else(|| self.ids.new_trace_id(), SpanContext::trace_id);
        let kind = SpanKind::Internal;
        let sampling = self.sampler.should_sample(Some(&context), trace_id, name, &kind, &[], &[]);
        if sampling.decision != SamplingDecision::RecordAndSample {
            return None;
        }
        let (id, flags) = (self.ids.new_span_id(), TraceFlags::SAMPLED);
        Some(ActiveSpan {
            name,
            context: SpanContext::new(trace_id, id, flags, false, sampling.trace_state),
            parent: parent.map(SpanContext::span_id),
            started: SystemTime::now(),
        })
    }

    /// Ends a span and queues it for export, or drops and counts it if the queue is full.
    pub fn end_span(&self, active: ActiveSpan, span: Span) {
        if !self.queue.reserve() {
            return;
        }
        let ActiveSpan { name, context, parent, started } = active;
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: started,
            end_time: span.ended,
            attributes: attributes(span.attributes),
            dropped_attributes_count: 0,
            events: events(span.event, span.ended),
            links: SpanLinks::default(),
            status: span.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Counts a started span that is dropped because a queue is full.
    pub fn count_dropped(&self) {
        self.queue.count_dropped();
    }

    /// Exports the queued spans and stops. Those that are not exported within `timeout` are lost. A runtime that shuts down
    /// waits for this.
    pub async fn stop(self: Arc<Self>, timeout: Duration) {
        let flushed = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(timeout));
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "cannot export the last spans");
        }
    }
}
