//! What a process says of itself: logs, Prometheus metrics and OpenTelemetry spans; and when it is asked to end.

mod admin;
mod exit;
mod faults;
mod listen;
mod logs;
mod name;
mod stop;
mod trace;

pub use admin::{AdminServer, registry};
pub use exit::exit_code;
pub use faults::{Fault, catch_fault};
pub use listen::{ListenError, listen};
pub use logs::{LogFormat, init_logs};
pub use name::process_name;
pub use stop::stop_requested;
pub use trace::{Attributes, Begun, Span, SpanEvent, TraceError, TraceSettings, Tracer, Value};
