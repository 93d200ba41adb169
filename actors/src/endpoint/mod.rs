//! One actor for each endpoint: it scrapes the engine's metrics page at its own pace and reports what it read.
//!
//! Must not know other endpoints, nor what a report is worth.

mod actor;
mod scrape;
mod scrape_schedule;

pub use actor::{EndpointActor, EndpointArguments, EndpointMessage};
pub use scrape::{PAGE_BYTES_MAX, Page, ScrapeError, Scraper};
