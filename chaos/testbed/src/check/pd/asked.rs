//! Sends one request through Envoy and compares its answer with the right one.
//!
//! Must not know which engines a request should reach.

use std::sync::Arc;
use std::time::Duration;

use murmuration_kit::client::{Answer, Call, Client};
use serde_json::Value;
use tokio::time::timeout;

use super::super::client_request::fetch;
use super::super::reading::{self, excerpt};
use super::super::report::Report;
use super::super::workload::Api;
use super::PdTarget;
use super::legs::{self, Legs};
use super::reference::Reference;

/// How long an answer may take; longer is a hang.
pub(super) const HANG: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'t> {
    pub(super) target: &'t PdTarget,
    /// Envoy.
    pub(super) public: &'t Arc<Client>,
    pub(super) reference: &'t Reference,
}

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// The right answer, to the request with this id.
    Right(String),
    /// An error with this status.
    Error(u16),
}

// === impl Asker ===

impl Asker<'_> {
    /// Sends a request, whose answer must be right, and compares what engines did with what was decided.
    pub(super) async fn ask_and_compare(&self, label: &str, call: &Call, report: &mut Report) -> Option<Legs> {
        let outcome = match self.ask(call).await {
            Ok(Came::Right(id)) => legs::compare(self.target, &id).await.map_err(|why| format!("{why} (request {id})")),
            Ok(Came::Error(status)) => Err(format!("answered {status}")),
            Err(why) => Err(why),
        };
        outcome.map_err(|why| report.fail(format!("{label}: {why}"))).ok()
    }

    /// Sends a request.
    ///
    /// # Errors
    /// A sentence about a wrong answer, an error without a text, or none at all.
    pub(super) async fn ask(&self, call: &Call) -> Result<Came, String> {
        let came = timeout(HANG, fetch(self.public, call)).await;
        self.judge(call, came.map_err(|_| format!("no answer within {HANG:?}"))??).await
    }

    /// Compares an answer with the right one.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(super) async fn judge(&self, call: &Call, came: Answer) -> Result<Came, String> {
        if came.status.is_client_error() || came.status.is_server_error() {
            let status = came.status.as_u16();
            let is_clear = status >= 500 && !came.body.is_empty();
            return if is_clear { Ok(Came::Error(status)) } else { Err(format!("{status}: {}", excerpt(&came.body))) };
        }
        let (api, model) = (api(call), &self.target.tier.model);
        let right = self.reference.answer(call).await?;
        let right =
            reading::read(&right, call.streamed, api, model).map_err(|why| format!("the right answer: {why}"))?;
        let read = reading::read(&came, call.streamed, api, model)?;
        if (&read.text, read.prompt_tokens) != (&right.text, right.prompt_tokens) {
            let (ours, theirs) = (excerpt(read.text.as_bytes()), excerpt(right.text.as_bytes()));
            return Err(format!("its text is {ours} where {theirs} was due: the KV was not that of its prompt"));
        }
        id(&came).map(Came::Right).ok_or_else(|| format!("it has no id: {}", excerpt(&came.body)))
    }
}

fn api(call: &Call) -> Api {
    if call.path == Api::Chat.path() { Api::Chat } else { Api::Completions }
}

/// The request's id as its engine names it: an answer's id is a word and the id.
fn id(came: &Answer) -> Option<String> {
    let text = came.events.first().map_or(&came.body[..], String::as_bytes);
    let answer: Value = serde_json::from_slice(text).ok()?;
    answer["id"].as_str()?.split_once('-').map(|(_, id)| id.to_owned())
}
