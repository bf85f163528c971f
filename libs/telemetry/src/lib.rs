//! What a process says of itself: logs, Prometheus metrics, and when it is asked to end.

mod admin;
mod exit;
mod listen;
mod logs;
mod stop;

pub use admin::{AdminServer, registry};
pub use exit::exit_code;
pub use listen::{ListenError, listen};
pub use logs::{LogFormat, init_logs};
pub use stop::stop_requested;
