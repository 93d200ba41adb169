//! Asks what the workload says, and brings home what came.
//!
//! Must not know what is right.

use bytes::Bytes;
use http::StatusCode;

use super::workload::{Ask, Expected};
use crate::client::{Answer, Call, Client, ClientError, ENGINE_NAME, Streamed};

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum Came {
    /// In one piece.
    Whole(Answer),
    /// In events.
    Streamed(Streamed),
}

/// A request's end.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    /// What a failure calls it.
    pub(super) label: String,
    /// What must have come.
    pub(super) expected: Expected,
    /// Whether it came past a picker.
    pub(super) picked: bool,
    /// What came, or why nothing whole did.
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

/// One request after the other, past a picker.
pub(super) async fn one_by_one(public: &Client, asks: Vec<Ask>) -> Vec<Heard> {
    let mut heard = Vec::with_capacity(asks.len());
    for ask in asks {
        let came = fetch(public, &ask.call).await;
        heard.push(Heard { label: ask.label, expected: ask.expected, picked: true, came });
    }
    heard
}

/// As [`one_by_one`], and each prompt once without a picker before: what came so is what must come.
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

/// A page, past a picker.
pub(super) async fn page(public: &Client, path: &str) -> Heard {
    let came = public.get(path).await.map(Came::Whole).map_err(|error| error.to_string());
    Heard { label: path.to_owned(), expected: Expected::Page, picked: true, came }
}

async fn fetch(client: &Client, call: &Call) -> Result<Came, String> {
    let told = |error: ClientError| error.to_string();
    if call.streamed {
        let stream = client.stream(&call.path, call.body.clone(), &call.header_pairs()).await.map_err(told)?;
        return stream.collect().await.map(Came::Streamed).map_err(told);
    }
    client.post(&call.path, call.body.clone(), &call.header_pairs()).await.map(Came::Whole).map_err(told)
}
