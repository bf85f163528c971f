//! Scrapes the metrics page of one endpoint.

mod connection;
mod fetch_error;
mod page_body;
mod page_fetcher;
mod scraped_endpoint;
mod target;

pub(crate) use fetch_error::FetchError;
pub(crate) use page_fetcher::PageFetcher;
pub(crate) use scraped_endpoint::{ScrapeStep, ScrapedEndpoint};
