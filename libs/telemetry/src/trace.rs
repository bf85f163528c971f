//! OpenTelemetry spans, sent over OTLP as the standard `OTEL_*` variables say, or not at all.
//!
//! Whether a span is wanted is decided before it exists, so that one that is not wanted costs nothing: no allocation, no clock.

mod parent;
mod queue;
mod sampler;
mod settings;
mod span;
mod tracer;
mod variables;

pub use settings::{TraceError, TraceSettings};
pub use span::{Attributes, Span, SpanEvent, Value};
pub use tracer::{Begun, Tracer};
