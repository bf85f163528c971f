//! The autoscaling signal: how many model servers a pool needs, why, and how sure that is.
//!
//! The owner of a pool assesses it once a second and publishes the [`Signal`] with the pool state, so every aggregator
//! can answer for it. [`Signal::read`] gives a number by [`Metric`], or says why there is none: a number that is not known
//! is an error, never zero.

mod group;
mod metric;
mod reading;
mod signal;

pub use group::{Group, Role};
pub use metric::Metric;
pub use reading::{MAX_AGE_MS, Unavailable};
pub use signal::{
    AdapterDemand, Certainty, Coverage, GroupSignal, Queue, Reason, ReplicaCounts, Signal, TokenRates,
};
