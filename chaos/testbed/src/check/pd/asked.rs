//! Sends one request through Envoy and compares its answer with the right one.
//!
//! Must not know which engines a request should reach.

use std::sync::Arc;
use std::time::Duration;

use murmuration_kit::client::{Answer, Call, Client};
use murmuration_proto::names;
use serde_json::Value;
use tokio::time::timeout;

use super::super::client_request::fetch;
use super::super::reading::{self, excerpt};
use super::super::report::Report;
use super::super::workload::Api;
use super::PdTarget;
use super::legs::{self, Legs};
use super::reference::Reference;
use super::report::PdReport;

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
    /// The picker's own refusal, with this status.
    Refused(u16),
    /// Another error with this status.
    Error(u16),
}

// === impl Asker ===

impl Asker<'_> {
    /// Sends a request, whose answer must be right, and compares what engines did with what was decided.
    pub(super) async fn ask_and_compare(
        &self,
        label: &str,
        call: &Call,
        figures: &mut PdReport,
        report: &mut Report,
    ) -> Option<Legs> {
        let outcome = match self.ask(call).await {
            Ok(Came::Right(id)) => legs::compare(self.target, &id).await.map_err(|why| format!("{why} (request {id})")),
            Ok(Came::Refused(status) | Came::Error(status)) => Err(format!("answered {status}")),
            Err(why) => Err(why),
        };
        match outcome {
            Ok(legs) => {
                figures.note(&legs);
                Some(legs)
            }
            Err(why) => {
                report.fail(format!("{label}: {why}"));
                None
            }
        }
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
            return match (status >= 500 && !came.body.is_empty(), came.header(names::DROPPED_REASON)) {
                (true, Some(_)) => Ok(Came::Refused(status)),
                (true, None) => Ok(Came::Error(status)),
                _ => Err(format!("{status}: {}", excerpt(&came.body))),
            };
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;

    use super::super::super::Target;
    use super::super::prompts::{self, SHORT_BYTES};
    use super::*;

    const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    #[tokio::test]
    async fn only_the_answer_of_an_engine_outside_of_the_tier_is_right() {
        let tier = Target {
            public: NOBODY,
            direct: NOBODY,
            model: "tiny".to_owned(),
            engines: 0,
            replicas: Vec::new(),
            replication: None,
        };
        let target = PdTarget { tier, engines: Vec::new(), falls_back: false, sees_answers: true };
        let (public, reference) = (Arc::new(Client::new(NOBODY)), Reference::start("tiny").await.unwrap());
        let asker = Asker { target: &target, public: &public, reference: &reference };
        for streamed in [false, true] {
            let (_, call) = prompts::text("tiny", Api::Chat, SHORT_BYTES, streamed);
            let right = reference.answer(&call).await.unwrap();
            assert!(matches!(asker.judge(&call, right.clone()).await, Ok(Came::Right(id)) if !id.is_empty()));
            let (_, other) = prompts::text("tiny", Api::Chat, SHORT_BYTES + 64, streamed);
            let wrong = reference.answer(&other).await.unwrap();
            assert!(asker.judge(&call, wrong).await.unwrap_err().contains("the KV was not that of its prompt"));
            let error = |status: u16, body: &'static str| Answer {
                status: http::StatusCode::from_u16(status).unwrap(),
                body: Bytes::from_static(body.as_bytes()),
                ..right.clone()
            };
            assert_eq!(asker.judge(&call, error(502, "no prefill engine")).await, Ok(Came::Error(502)));
            assert!(asker.judge(&call, error(502, "")).await.is_err(), "an error must say something");
            assert!(asker.judge(&call, error(404, "not found")).await.is_err());
        }
    }
}
