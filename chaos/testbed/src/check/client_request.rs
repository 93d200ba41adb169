//! Sends the requests of the workload and returns what came back.
//!
//! Must not know which answers are correct.

use super::workload::{Ask, Expected};
use murmuration_kit::client::{Answer, Call, Client, ENGINE_NAME};

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// The request's name in failure messages.
    pub(super) label: String,
    /// The expected answer.
    pub(super) expected: Expected,
    /// Whether a picker routed the request.
    pub(super) picked: bool,
    /// Whether the answer was asked for as a stream.
    pub(super) streamed: bool,
    /// The answer, or why no whole answer came.
    pub(super) came: Result<Answer, String>,
}

// === impl Heard ===

impl Heard {
    /// The engine that answered, where one did.
    pub(super) fn engine(&self) -> Option<&str> {
        self.came.as_ref().ok()?.header(ENGINE_NAME)
    }
}

/// Sends one request after the other, through a picker.
pub(super) async fn one_by_one(public: &Client, asks: Vec<Ask>) -> Vec<Heard> {
    let mut heard = Vec::with_capacity(asks.len());
    for ask in asks {
        let came = fetch(public, &ask.call).await;
        heard.push(Heard { label: ask.label, expected: ask.expected, picked: true, streamed: ask.call.streamed, came });
    }
    heard
}

/// As [`one_by_one`], and sends each prompt once without a picker first: that answer is the reference.
pub(super) async fn compared(public: &Client, direct: &Client, asks: Vec<Ask>) -> Vec<Heard> {
    let mut heard: Vec<Heard> = Vec::with_capacity(asks.len() * 2);
    for ask in asks {
        if !heard.iter().any(|before| before.expected == ask.expected) {
            let came = fetch(direct, &ask.call).await;
            let label = format!("{}, without a picker", ask.label);
            let (expected, streamed) = (ask.expected.clone(), ask.call.streamed);
            heard.push(Heard { label, expected, picked: false, streamed, came });
        }
        heard.extend(one_by_one(public, vec![ask]).await);
    }
    heard
}

/// Fetches a page through a picker.
pub(super) async fn page(public: &Client, path: &str) -> Heard {
    let came = public.get(path).await.map_err(|error| error.to_string());
    Heard { label: path.to_owned(), expected: Expected::Page, picked: true, streamed: false, came }
}

/// Sends a request and waits for all of its answer.
///
/// # Errors
/// A sentence that says why no whole answer came.
pub(super) async fn fetch(client: &Client, call: &Call) -> Result<Answer, String> {
    let (path, body, headers) = (&call.path, call.body.clone(), &call.header_pairs());
    let came = match call.streamed {
        true => match client.stream(path, body, headers).await {
            Ok(stream) => stream.collect().await,
            Err(error) => Err(error),
        },
        false => client.post(path, body, headers).await,
    };
    came.map_err(|error| error.to_string())
}
