//! Owns the state of pools and streams it to EPP replicas.

mod actors;
mod app;
mod autoscaling;
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
mod start_error;

pub use app::{Aggregator, PortFlags};
pub use config::{
    AggregatorConfig, AutoscalingConfig, AutoscalingFlags, Flags, MetricsApiConfig, Output, PoolFlags,
    ServiceName,
};
pub use pool_source::{PoolSet, PoolSource, SourcedPool};
pub use process::run;
pub use start_error::StartError;
