//! The faults of an emulated engine, set by `POST /chaos`: it becomes slow, or its metrics page is faulty.
//!
//! Must not know sockets or plans. The route exists in this emulation only; no real engine has it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Bytes of a page that never ends: more than any reader takes.
const ENDLESS_BYTES: usize = 64 << 20;

/// All faults of an engine. A field that is missing means no fault of that kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineFault {
    /// The factor by which steps take longer.
    pub slow: f64,
    /// The fault of its metrics page.
    pub page: Option<PageFault>,
    /// Whether other engines read something else from its blocks than what lies there.
    pub wrong_kv: bool,
}

/// A fault of a metrics page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PageFault {
    /// The page no longer changes.
    Stale,
    /// It ends in the middle.
    Torn,
    /// Its gauges of waiting and running requests are zero.
    Lying,
    /// It never ends.
    Endless,
    /// The answer is status 500.
    Error,
}

/// A metrics page as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spoiled {
    /// This text.
    Text(String),
    /// A page longer than any reader takes.
    Endless,
    /// None: status 500.
    Error,
}

// === impl EngineFault ===

impl Default for EngineFault {
    fn default() -> Self {
        Self { slow: 1.0, page: None, wrong_kv: false }
    }
}

/// Applies `fault` to `page`; `kept` is the page of the moment at which the fault `Stale` began.
pub(super) fn spoil(page: String, fault: Option<PageFault>, kept: &mut Option<String>) -> Spoiled {
    if fault != Some(PageFault::Stale) {
        *kept = None;
    }
    match fault {
        None => Spoiled::Text(page),
        Some(PageFault::Stale) => Spoiled::Text(kept.get_or_insert(page).clone()),
        Some(PageFault::Torn) => Spoiled::Text(page.chars().take(page.len() / 2).collect()),
        Some(PageFault::Lying) => Spoiled::Text(page.lines().map(idle).collect()),
        Some(PageFault::Endless) => Spoiled::Endless,
        Some(PageFault::Error) => Spoiled::Error,
    }
}

/// The same line as an idle engine has it.
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

    fn spoiled(fault: Option<PageFault>) -> Spoiled {
        spoil(BUSY.to_owned(), fault, &mut None)
    }

    #[test]
    fn a_lying_page_shows_no_running_requests() {
        let idle_page = "# HELP x y\nvllm:num_requests_running{model_name=\"tiny\"} 0.0\nother 3\n";
        assert_eq!(spoiled(Some(PageFault::Lying)), Spoiled::Text(idle_page.to_owned()));
        assert_eq!(spoiled(None), Spoiled::Text(BUSY.to_owned()));
    }

    #[test]
    fn a_torn_page_ends_in_the_middle() {
        assert_eq!(spoiled(Some(PageFault::Torn)), Spoiled::Text(BUSY[..BUSY.len() / 2].to_owned()));
    }

    #[test]
    fn a_stale_page_is_repeated_until_the_fault_ends() {
        let mut kept = None;
        let mut read = |page: &str, fault| spoil(page.to_owned(), fault, &mut kept);
        assert_eq!(read("1", Some(PageFault::Stale)), Spoiled::Text("1".to_owned()));
        assert_eq!(read("2", Some(PageFault::Stale)), Spoiled::Text("1".to_owned()));
        assert_eq!(read("3", None), Spoiled::Text("3".to_owned()));
        assert_eq!(read("4", Some(PageFault::Stale)), Spoiled::Text("4".to_owned()));
    }
}
