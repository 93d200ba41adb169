//! One actor for each endpoint: it scrapes the engine's metrics page on its own schedule and reports the result.
//!
//! Must not know other endpoints, nor how a report is used.

mod actor;
mod page_buffers;
mod scrape;
mod scrape_schedule;

pub use actor::{EndpointActor, EndpointArguments, EndpointMessage};
pub use scrape::{PAGE_BYTES_MAX, Page, ScrapeError, Scraper};
pub(crate) use scrape_schedule::slot_key;
