//! Exports OpenTelemetry spans over OTLP, configured by the standard `OTEL_*` variables.
//!
//! The sampling decision precedes the span, so that a span that is not sampled costs nothing: no allocation,
//! no clock.

mod env_variables;
mod export_queue;
mod sampler;
mod settings;
mod span;
mod traceparent;
mod tracer;

pub use settings::{TraceError, TraceSettings};
pub use span::{Attributes, Span, SpanEvent, Value};
pub use tracer::{ActiveSpan, Tracer};
