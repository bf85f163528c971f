//! Owns the state of a pool and streams it to the EPP replicas.

mod actors;
mod app;
mod config;
pub mod endpoints_file;
mod metrics;
mod pools;
mod process;
mod serve;
mod source;

pub use app::{Aggregator, PortFlags, StartError};
pub use config::{AggregatorConfig, Flags, Output};
pub use process::run;
pub use source::Source;
