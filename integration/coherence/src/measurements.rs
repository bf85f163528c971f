//! The measurements, one module each.

mod booking_delays;
pub(crate) mod collector_loss;
pub(crate) mod cost;
pub(crate) mod failover;
pub(crate) mod large_bodies;
pub(crate) mod pools;
pub(crate) mod propagation;
mod propagation_report;
pub(crate) mod questions;
pub(crate) mod queue;
pub(crate) mod replica_start;
pub(crate) mod soak;
