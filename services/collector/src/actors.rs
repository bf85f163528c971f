//! The collector's actors.
//!
//! ```text
//! Root                            holds the current assignment
//! ├ EndpointSupervisor            starts and stops scrapers according to the assignment
//! │ └ EndpointScraper × endpoint  scrapes one endpoint
//! └ Uplink                        keeps a stream to an aggregator open
//! ```

mod aggregator_stream;
mod endpoint_scraper;
mod endpoint_supervisor;
#[cfg(test)]
mod fixtures;
mod root;
mod root_message;
mod uplink;

pub(crate) use root::Root;
