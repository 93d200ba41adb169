//! Sends the requests of the workload and returns what came back.
//!
//! Must not know which answers are correct.

use bytes::Bytes;
use http::StatusCode;

use super::workload::{Ask, Expected};
use crate::client::{Answer, Call, Client, ClientError, ENGINE_NAME, Streamed};

/// An answer that came back.
#[derive(Clone, Debug)]
pub(super) enum Came {
    /// In one piece.
    Whole(Answer),
    /// In events.
    Streamed(Streamed),
}

/// How a request ended.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// The request's name in failure messages.
    pub(super) label: String,
    /// The expected answer.
    pub(super) expected: Expected,
    /// Whether a picker routed the request.
    pub(super) picked: bool,
    /// The answer, or why no whole answer came.
    pub(super) came: Result<Came, String>,
}

// === impl Came ===

impl Came {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Whole(answer) => answer.status,
            Self::Streamed(answer) => answer.status,
        }
    }

    pub(super) fn body(&self) -> &Bytes {
        match self {
            Self::Whole(answer) => &answer.body,
            Self::Streamed(answer) => &answer.body,
        }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        match self {
            Self::Whole(answer) => answer.header(name),
            Self::Streamed(answer) => answer.header(name),
        }
    }

    /// The engine that answered.
    pub(super) fn engine(&self) -> Option<&str> {
        self.header(ENGINE_NAME)
    }
}

/// Sends one request after the other, through a picker.
pub(super) async fn one_by_one(public: &Client, asks: Vec<Ask>) -> Vec<Heard> {
    let mut heard = Vec::with_capacity(asks.len());
    for ask in asks {
        let came = fetch(public, &ask.call).await;
        heard.push(Heard { label: ask.label, expected: ask.expected, picked: true, came });
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
            heard.push(Heard { label, expected: ask.expected.clone(), picked: false, came });
        }
        heard.extend(one_by_one(public, vec![ask]).await);
    }
    heard
}

/// Fetches a page through a picker.
pub(super) async fn page(public: &Client, path: &str) -> Heard {
    let came = public.get(path).await.map(Came::Whole).map_err(|error| error.to_string());
    Heard { label: path.to_owned(), expected: Expected::Page, picked: true, came }
}

async fn fetch(client: &Client, call: &Call) -> Result<Came, String> {
    let sentence = |error: ClientError| error.to_string();
    if call.streamed {
        let stream = client.stream(&call.path, call.body.clone(), &call.header_pairs()).await.map_err(sentence)?;
        return stream.collect().await.map(Came::Streamed).map_err(sentence);
    }
    client.post(&call.path, call.body.clone(), &call.header_pairs()).await.map(Came::Whole).map_err(sentence)
}
