//! Begins spans, and sends them when they are ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, IdGenerator, RandomIdGenerator, SpanData, SpanLinks,
    SpanProcessor,
};
use prometheus_client::registry::Registry;

use super::parent::Parent;
use super::queue::{Counted, Queue};
use super::sampler::Sampler;
use super::settings::{TraceError, TraceSettings};
use super::span::{Span, attributes, events};

/// How long spans that wait may take to be sent at the end.
const FLUSH: Duration = Duration::from_secs(5);

/// Begins spans, and sends them when they are ended, in batches from a thread of its own.
#[derive(Debug)]
pub struct Tracer {
    sampler: Sampler,
    ids: RandomIdGenerator,
    scope: InstrumentationScope,
    queue: Queue,
    processor: BatchSpanProcessor,
}

/// A span that is wanted and not ended.
#[derive(Clone, Debug)]
pub struct Begun {
    context: SpanContext,
    parent: Option<SpanId>,
    began: SystemTime,
}

impl Tracer {
    /// Sends spans as `settings` say, in the name of the library `scope`. To be called within a runtime, which the connection
    /// lives in. `registry` shows what becomes of the spans.
    ///
    /// # Errors
    /// [`TraceError::Exporter`] when the endpoint is no address.
    pub fn start(
        settings: TraceSettings,
        scope: &'static str,
        registry: &mut Registry,
    ) -> Result<Self, TraceError> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(settings.endpoint)
            .with_timeout(settings.timeout)
            .with_metadata(settings.headers)
            .build()
            .map_err(|error| TraceError::Exporter(error.to_string()))?;
        let queue = Queue::new(settings.queue, registry);
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue)
            .with_max_export_batch_size(settings.batch)
            .with_scheduled_delay(settings.delay)
            .build();
        let mut processor = BatchSpanProcessor::new(Counted::new(exporter, queue.clone()), batches);
        let named = settings.resource.into_iter().map(|(key, value)| KeyValue::new(key, value));
        let sdk = Box::new(TelemetryResourceDetector);
        processor.set_resource(&Resource::builder_empty().with_detector(sdk).with_attributes(named).build());
        let (sampler, ids) = (settings.sampler, RandomIdGenerator::default());
        Ok(Self { sampler, ids, scope: InstrumentationScope::builder(scope).build(), queue, processor })
    }

    /// Begins the span of a request with these headers, if it is wanted. The span that the request came from is the parent.
    pub fn begin<'a>(&self, header: impl Fn(&'static str) -> Option<&'a str>) -> Option<Begun> {
        let parent = header("traceparent").and_then(Parent::read);
        let trace_id = parent.map_or_else(|| self.ids.new_trace_id(), |parent| parent.trace_id);
        if !self.sampler.wants(parent, trace_id) {
            return None;
        }
        let state = parent.and_then(|_| header("tracestate")?.parse::<TraceState>().ok());
        let flags = TraceFlags::SAMPLED;
        let context =
            SpanContext::new(trace_id, self.ids.new_span_id(), flags, false, state.unwrap_or_default());
        Some(Begun { context, parent: parent.map(|parent| parent.span_id), began: SystemTime::now() })
    }

    /// Ends a span: it is sent with others, or dropped and counted where too many wait.
    pub fn end(&self, begun: Begun, span: Span) {
        if !self.queue.admits() {
            return;
        }
        let Begun { context, parent, began } = begun;
        self.processor.on_end(SpanData {
            span_context: context,
            parent_span_id: parent.unwrap_or(SpanId::INVALID),
            parent_span_is_remote: parent.is_some(),
            span_kind: SpanKind::Internal,
            name: span.name.into(),
            start_time: began,
            end_time: span.ended,
            attributes: attributes(span.attributes),
            dropped_attributes_count: 0,
            events: events(span.event, span.ended),
            links: SpanLinks::default(),
            status: span.failure.map_or(Status::Unset, Status::error),
            instrumentation_scope: self.scope.clone(),
        });
    }

    /// Counts a span that was begun and is not ended, because too much has to wait.
    pub fn give_up(&self) {
        self.queue.dropped();
    }

    /// Sends what waits, and nothing more.
    pub async fn stop(self: Arc<Self>) {
        let flushed = tokio::task::spawn_blocking(move || self.processor.shutdown_with_timeout(FLUSH));
        if let Ok(Err(error)) = flushed.await {
            tracing::warn!(%error, "the last spans are not exported");
        }
    }
}
