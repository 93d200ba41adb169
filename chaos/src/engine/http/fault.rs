//! What a storm does to an emulated engine, told by `POST /chaos`: it becomes slow, or its metrics page is no good.
//!
//! Must not know sockets or plans. The route is this emulation's own; no real engine has it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::plan::Page;

/// Bytes of a page that never ends, of which no reader takes so many.
const ENDLESS_BYTES: usize = 64 << 20;

/// What is wrong with an engine, all of it: what is not said is well.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineFault {
    /// Steps take so many times as long.
    pub slow: f64,
    /// What is wrong with its metrics page.
    pub page: Option<Page>,
}

/// A metrics page as it leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spoiled {
    /// This text.
    Text(String),
    /// More than anybody reads.
    Endless,
    /// None: status 500.
    Error,
}

// === impl EngineFault ===

impl Default for EngineFault {
    fn default() -> Self {
        Self { slow: 1.0, page: None }
    }
}

/// `page` with what is wrong with it; `kept` is the page of the moment at which it began to be stale.
pub(super) fn spoil(page: String, fault: Option<Page>, kept: &mut Option<String>) -> Spoiled {
    if fault != Some(Page::Stale) {
        *kept = None;
    }
    match fault {
        None => Spoiled::Text(page),
        Some(Page::Stale) => Spoiled::Text(kept.get_or_insert(page).clone()),
        Some(Page::Torn) => Spoiled::Text(page.chars().take(page.len() / 2).collect()),
        Some(Page::Lying) => Spoiled::Text(page.lines().map(idle).collect()),
        Some(Page::Endless) => Spoiled::Endless,
        Some(Page::Error) => Spoiled::Error,
    }
}

/// The line of an engine that has nothing to do.
fn idle(line: &str) -> String {
    let busy = ["vllm:num_requests_waiting{", "vllm:num_requests_running{"].iter().any(|name| line.starts_with(name));
    match line.rsplit_once(' ') {
        Some((name, _)) if busy => format!("{name} 0.0\n"),
        _ => format!("{line}\n"),
    }
}

/// The body of a page that never ends.
pub(super) fn endless() -> Bytes {
    Bytes::from(b"# a page that never ends\n".repeat(ENDLESS_BYTES / 25))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: &str = "# HELP x y\nvllm:num_requests_running{model_name=\"tiny\"} 7.0\nother 3\n";

    fn spoiled(fault: Option<Page>) -> Spoiled {
        spoil(BUSY.to_owned(), fault, &mut None)
    }

    #[test]
    fn a_lying_page_says_that_nothing_runs() {
        let told = "# HELP x y\nvllm:num_requests_running{model_name=\"tiny\"} 0.0\nother 3\n";
        assert_eq!(spoiled(Some(Page::Lying)), Spoiled::Text(told.to_owned()));
        assert_eq!(spoiled(None), Spoiled::Text(BUSY.to_owned()));
    }

    #[test]
    fn a_torn_page_ends_in_the_middle() {
        assert_eq!(spoiled(Some(Page::Torn)), Spoiled::Text(BUSY[..BUSY.len() / 2].to_owned()));
    }

    #[test]
    fn a_stale_page_stays_as_it_was_until_it_is_well_again() {
        let mut kept = None;
        let mut read = |page: &str, fault| spoil(page.to_owned(), fault, &mut kept);
        assert_eq!(read("1", Some(Page::Stale)), Spoiled::Text("1".to_owned()));
        assert_eq!(read("2", Some(Page::Stale)), Spoiled::Text("1".to_owned()));
        assert_eq!(read("3", None), Spoiled::Text("3".to_owned()));
        assert_eq!(read("4", Some(Page::Stale)), Spoiled::Text("4".to_owned()));
    }
}
