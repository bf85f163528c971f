//! Everything a gateway connects to: ext-proc, health checks and the access log service.

pub(crate) mod access_log;
mod exchange;
pub(crate) mod gateway_connections;
pub(crate) mod health;
mod http2_limits;
mod long_work;
pub(crate) mod servers;
