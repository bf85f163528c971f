//! Scrapes the metrics of the model servers that an aggregator assigns, and reports changes to it.
//!
//! One actor per endpoint scrapes it and observes its values ([`signalbox_state::EndpointObserver`]). Updates
//! wait in one outbox, merged per endpoint. One actor keeps a stream to an aggregator open, sends the
//! contents of the outbox on it, and receives the assignment.

mod actors;
mod app;
mod assignment;
mod clock;
mod collected_pools;
mod config;
mod highest_epoch;
mod metrics;
mod outbox;
mod process;
mod scrape;
mod shared;

pub use app::{Collector, CollectorHandle, StartError};
pub use config::{CollectorConfig, Flags, Output, PageTlsFlags, ScrapeConfig};
pub use process::run;
pub use signalbox_peers::FollowedPools;
