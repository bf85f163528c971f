//! Observes all processes through their metrics pages and logs, and checks that faults had an effect.

mod cluster_status;
mod coordinator_outages;
mod effect;
mod effects_of_rows;
mod endpoint_moves;
mod envoy_counters;
mod found;
mod history;
mod monitor;
mod observer;
mod probes;
mod process_status;
mod reading;
mod tenure;

pub(crate) use cluster_status::ClusterStatus;
pub(crate) use coordinator_outages::CoordinatorOutages;
pub(crate) use effect::Evidence;
pub(crate) use effects_of_rows::check_effects;
pub(crate) use envoy_counters::EnvoyCounters;
pub(crate) use monitor::Monitor;
pub(crate) use observer::Observer;
