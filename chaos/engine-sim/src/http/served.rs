//! The last requests of an engine, each with what passed between engines for it (`GET /chaos/requests`): what a check
//! of a tier compares with what the pickers decided.
//!
//! Must not know HTTP. The page exists in this emulation only; no real engine has it.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde::Serialize;
use serde_json::json;

/// Requests that are listed.
const LISTED_MAX: usize = 1_024;

/// One request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Served {
    /// `x-request-id`, or the name that the engine gave it.
    pub(super) request_id: String,
    pub(super) prompt_tokens: usize,
    /// Whether it was asked to keep its KV for another engine.
    pub(super) keeps: bool,
    /// The id of the engine that its KV came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pulled_from: Option<String>,
    /// Why its KV did not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_failure: Option<&'static str>,
    /// Images and other items that this engine encoded.
    pub(super) encoded: usize,
    /// Images and other items whose embeddings another engine had stored.
    pub(super) loaded: usize,
}

/// The list.
#[derive(Debug, Default)]
pub(super) struct ServedList(Mutex<VecDeque<Served>>);

// === impl ServedList ===

impl ServedList {
    /// Adds a request; the oldest one gives way.
    pub(super) fn add(&self, served: Served) {
        let Ok(mut list) = self.0.lock() else { return };
        list.push_back(served);
        if list.len() > LISTED_MAX {
            list.pop_front();
        }
    }

    /// The page of the engine with this id, if it has a connector: its requests, the oldest first.
    pub(super) fn page(&self, engine_id: Option<&str>) -> String {
        let requests = self.0.lock().map(|list| list.clone()).unwrap_or_default();
        json!({ "engine_id": engine_id, "requests": requests }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_begins_with_the_oldest() {
        let list = ServedList::default();
        for nth in 0..=LISTED_MAX {
            list.add(Served { request_id: nth.to_string(), ..Served::default() });
        }
        let page: serde_json::Value = serde_json::from_str(&list.page(Some("one"))).unwrap_or_default();
        let first = json!({ "request_id": "1", "prompt_tokens": 0, "keeps": false, "encoded": 0, "loaded": 0 });
        assert_eq!((&page["engine_id"], &page["requests"][0]), (&json!("one"), &first));
        assert_eq!(page["requests"].as_array().map(Vec::len), Some(LISTED_MAX));
    }
}
