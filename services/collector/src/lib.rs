//! Reads the metrics of the model servers that an aggregator assigns to it, and reports what changed.
//!
//! An actor per model server reads and observes ([`signalbox_state::EndpointObserver`]); what is worth reporting waits, conflated per
//! endpoint, in one outbox; one actor keeps a stream to an aggregator open, empties the outbox into it, and hears from it
//! what to read.

mod actors;
mod app;
mod clock;
mod config;
mod link;
mod metrics;
mod outbox;
mod pod;
mod process;
mod roster;
mod scrape;
mod target;

pub use app::{Collector, CollectorHandle, StartError};
pub use config::{Arguments, CollectorConfig, Output, ScrapeConfig};
pub use process::run;
