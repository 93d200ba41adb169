//! The requests: prompts that are worth an engine of their own, prompts that are not, and images.
//!
//! Must not know answers.

use std::sync::atomic::{AtomicU32, Ordering};

use murmuration_kit::client::Call;
use serde_json::json;

use super::super::workload::{Api, MAX_TOKENS, call, words};

/// A prompt of about 2,000 tokens.
pub(super) const LONG_BYTES: usize = 8 << 10;
/// A prompt of about 50 tokens.
pub(super) const SHORT_BYTES: usize = 200;
/// A prompt of about 10,000 tokens, which an engine of the testbed computes in a second.
pub(super) const SLOW_BYTES: usize = 40_000;
/// Tokens of an answer that is still under way when its first token is long known.
const SLOW_TOKENS: u64 = 100;

/// Text prompts that were made; no two are alike but for the one that is asked twice.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A request with a text of this size, and its name.
pub(super) fn text(model: &str, api: Api, bytes: usize, streamed: bool) -> (String, Call) {
    let label = format!("{} {}{}", size(bytes), api.word(), if streamed { ", streamed" } else { "" });
    let body = api.body(model, "", &words(&label, bytes), MAX_TOKENS, streamed);
    (label, call(api, &body, streamed))
}

/// A request with a long text that nobody asked before.
pub(super) fn new_text(model: &str, title: &str, bytes: usize) -> (String, Call) {
    let label = format!("{title} {}", MADE.fetch_add(1, Ordering::Relaxed));
    let body = Api::Completions.body(model, "", &words(&label, bytes), MAX_TOKENS, false);
    (label, call(Api::Completions, &body, false))
}

/// A request whose prompt takes long, and whose answer, too.
pub(super) fn slow(model: &str) -> Call {
    let title = format!("slow {}", MADE.fetch_add(1, Ordering::Relaxed));
    let body = Api::Completions.body(model, "", &words(&title, SLOW_BYTES), SLOW_TOKENS, true);
    call(Api::Completions, &body, true)
}

/// A chat with a text of this size and an image.
pub(super) fn with_image(model: &str, bytes: usize, streamed: bool) -> (String, Call) {
    let label = format!("{} chat with an image{}", size(bytes), if streamed { ", streamed" } else { "" });
    let mut body = Api::Chat.body(model, "Describe it.", "", MAX_TOKENS, streamed);
    let (image, text) = (format!("http://images.test/{bytes}-{streamed}.png"), words(&label, bytes));
    body["messages"][1]["content"] =
        json!([{ "type": "image_url", "image_url": { "url": image } }, { "type": "text", "text": text }]);
    (label, call(Api::Chat, &body, streamed))
}

fn size(bytes: usize) -> &'static str {
    if bytes < LONG_BYTES { "short" } else { "long" }
}

/// An answer that runs until it is given up.
pub(super) fn endless(model: &str, nth: usize) -> Call {
    let body = Api::Completions.body(model, "", &words(&format!("endless {nth}"), SHORT_BYTES), 20_000, true);
    call(Api::Completions, &body, true)
}
