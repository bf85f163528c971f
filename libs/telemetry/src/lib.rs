//! Logs, Prometheus metrics and OpenTelemetry spans of a process, its metrics port, and the signals that stop
//! it.

mod admin_server;
mod exit_code;
mod exposition;
mod listen;
mod logs;
mod panics;
mod process_name;
mod registries;
mod stop_signal;
mod trace;

pub use admin_server::{AdminServer, registry};
pub use exit_code::exit_code;
pub use listen::{ListenError, listen};
pub use logs::{LogFormat, init_logs};
pub use panics::{CaughtPanic, catch_panic};
pub use process_name::process_name;
pub use registries::{Registries, RegistryEntry};
pub use stop_signal::stop_requested;
pub use trace::{ActiveSpan, Attributes, Span, SpanEvent, TraceError, TraceSettings, Tracer, Value};
