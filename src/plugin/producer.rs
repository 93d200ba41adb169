//! Producers: they learn something of a request between its body and its decision, by asking others.
//!
//! The only role that may wait. It returns a future, and whoever calls it awaits that within a deadline: this crate
//! knows no runtime. What is learned may differ from one replica to the next, and then the same request may be decided
//! differently; all else that other roles see is shared by the tier.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::request::InferenceRequest;

/// Learns something of a request before its decision.
pub trait Producer: Debug + Send + Sync {
    /// How long it may take for this request, which was sent to `path`; `None` if it has nothing to say of it.
    fn deadline(&self, path: &str, request: &InferenceRequest) -> Option<Duration>;

    /// Learns what it can. The future is dropped at the deadline, and the request goes on as it was read.
    ///
    /// # Errors
    /// A stable label of the reason, for metrics; the request goes on as it was read.
    fn learn<'a>(&'a self, asked: Unprepared<'a>) -> Learning<'a>;
}

/// What a producer is learning.
pub type Learning<'a> = Pin<Box<dyn Future<Output = Result<Learned, &'static str>> + Send + 'a>>;

/// A request whose body is complete, before its decision.
#[derive(Clone, Copy, Debug)]
pub struct Unprepared<'a> {
    /// The path that it was sent to, with its query.
    pub path: &'a str,
    /// Its body, as the client sent it.
    pub body: &'a RequestBody,
    /// What was read of it.
    pub request: &'a InferenceRequest,
}

/// The bytes of a body. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestBody(Arc<Vec<u8>>);

/// What a producer learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// The prompt's length in tokens, instead of the estimate. Zero is ignored.
    pub prompt_tokens: Option<u64>,
    /// What other plugins may read in [`InferenceRequest::attributes`], by name.
    pub attributes: Vec<(String, String)>,
}

// === impl RequestBody ===

impl From<Vec<u8>> for RequestBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl AsRef<[u8]> for RequestBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

// === impl Learned ===

impl Learned {
    /// Adds it to `request`.
    ///
    /// # Errors
    /// `too-large`, if an attribute has no room; the others are added.
    pub fn add_to(self, request: &mut InferenceRequest) -> Result<(), &'static str> {
        if let Some(tokens) = self.prompt_tokens.filter(|tokens| *tokens > 0) {
            request.prompt.tokens = tokens;
        }
        let added = self.attributes.into_iter().map(|(name, value)| request.attributes.insert(name, value));
        let refused = added.filter(|added| !added).count();
        if refused == 0 { Ok(()) } else { Err("too-large") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learned_replaces_what_was_estimated_and_has_a_bound() {
        let mut request = InferenceRequest::default();
        request.prompt.tokens = 40;
        let tier = |value: &str| vec![("tier".to_owned(), value.to_owned())];
        let learned = Learned { prompt_tokens: Some(0), attributes: tier("gold") };
        assert_eq!(learned.add_to(&mut request), Ok(()));
        assert_eq!((request.prompt.tokens, request.attributes.get("tier")), (40, Some("gold")));
        let learned = Learned { prompt_tokens: Some(7), attributes: tier(&"x".repeat(10_000)) };
        assert_eq!(learned.add_to(&mut request), Err("too-large"));
        assert_eq!((request.prompt.tokens, request.attributes.get("tier")), (7, Some("gold")));
    }
}
