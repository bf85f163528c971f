//! The autoscaling signal: how many model servers a pool needs, why, and how sure that is.
//!
//! The owner of a pool assesses it once a second ([`SignalAssessor::assess`]) and publishes the [`Signal`] with the pool
//! state, so every aggregator can answer for it. [`Signal::read`] gives a number by [`Metric`], or says why there is none: a
//! number that is not known is an error, never zero.

mod allocation;
mod assessor;
mod capacity;
mod correction;
mod coverage;
mod demand;
mod group;
mod idleness;
mod metric;
mod needs;
mod observation;
mod output;
mod reading;
mod settings;
mod signal;
mod startup;
mod steadied;
mod trend;

pub use assessor::SignalAssessor;
pub use group::{Group, Role};
pub use metric::Metric;
pub use observation::{ArrivalCounts, EppReplica, Observation, Pod, PodSpeed, PodState, ServedCounts};
pub use reading::{MAX_AGE_MS, Unavailable};
pub use settings::SignalSettings;
pub use signal::{
    AdapterDemand, Certainty, Coverage, GroupSignal, Queue, Reason, ReplicaCounts, Signal, TokenRates,
};
