//! Scrapes the metrics page of one endpoint.

mod page_fetcher;
mod scraped_endpoint;
mod target;

pub(crate) use page_fetcher::{FetchError, PageFetcher};
pub(crate) use scraped_endpoint::{ScrapeStep, ScrapedEndpoint};
