//! Exports OpenTelemetry spans over OTLP, configured by the standard `OTEL_*` variables.
//!
//! The sampling decision precedes the span, so that a span that is not sampled costs little: no clock, no queue.

mod env_variables;
mod error;
mod export_queue;
mod exporter;
mod settings;
mod span;
mod tls_files;
mod tracer;

pub use error::TraceError;
pub use settings::TraceSettings;
pub use span::{Attributes, Span, SpanEvent, Value};
pub use tracer::{ActiveSpan, Tracer};
