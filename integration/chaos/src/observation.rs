//! Observes all processes through their metrics pages.

mod cluster_status;
mod fault_effect;
mod observer;

pub(crate) use cluster_status::ClusterStatus;
pub(crate) use fault_effect::missing_effect;
pub(crate) use observer::{Monitor, Observer};
