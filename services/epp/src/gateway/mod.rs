//! Everything a gateway connects to: ext-proc, health checks and the access log service.

mod access_log;
mod exchange;
pub(crate) mod health;
mod http2_limits;
pub(crate) mod servers;
