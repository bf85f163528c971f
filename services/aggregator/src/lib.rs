//! Owns the state of pools and streams it to EPP replicas.

mod actors;
mod app;
mod config;
pub mod endpoints_file;
mod metrics;
mod pool_source;
mod pools;
mod process;
mod serve;

pub use app::{Aggregator, PortFlags, StartError};
pub use config::{AggregatorConfig, Flags, Output};
pub use pool_source::PoolSource;
pub use process::run;
