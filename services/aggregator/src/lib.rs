//! Owns the state of pools and streams it to EPP replicas.

mod actors;
mod app;
mod config;
pub mod endpoints_file;
mod health;
mod metrics;
mod pool_lifecycle;
mod pool_source;
mod pools;
mod process;
mod readiness;
mod serve;

pub use app::{Aggregator, PortFlags, StartError};
pub use config::{AggregatorConfig, Flags, Output, PoolFlags, ServiceName};
pub use pool_source::{PoolSet, PoolSource, SourcedPool};
pub use process::run;
