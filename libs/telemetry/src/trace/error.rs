//! Why tracing cannot be set up.

use thiserror::Error;

/// Tracing cannot be set up.
#[derive(Debug, Error)]
pub enum TraceError {
    /// Variables have invalid or unsupported values.
    #[error("invalid OpenTelemetry configuration: {}", .0.join("; "))]
    Variables(Vec<String>),
    /// The exporter cannot be created.
    #[error("cannot export spans: {0}")]
    Exporter(String),
}
