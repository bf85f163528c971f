//! The pools that a replica serves: each has a picker, actors that keep its view current, and a port. With
//! `--all-pools` they come and go with the fleet.

mod fleet;
pub(crate) mod leaving_ports;
mod plan;
mod pool_port;
pub(crate) mod pool_set;
mod readiness;
mod served_pool;

pub(crate) use fleet::serve_fleet;
#[cfg(test)]
pub(crate) use pool_port::CUT_TIMEOUT;
#[cfg(test)]
pub(crate) use served_pool::STOP_TIMEOUT;
