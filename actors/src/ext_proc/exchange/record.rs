//! The record of one request, from which the event at its end is made.
//!
//! Must not know messages; callers report what happened and when.

use std::time::Duration;

use murmuration::event::{Event, RequestFinished};
use murmuration::request::{InferenceRequest, Outcome, Refusal, Usage};
use murmuration::schedule::Decision;
use murmuration::time::Timestamp;

use crate::ext_proc::id_generator::uuid;

/// How a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestEnd {
    /// [`Event::RequestFinished`]; [`Event::Refused`] where the replica answered itself; [`Event::LocalReply`] where
    /// the proxy answered before it showed a request.
    pub event: Event,
    /// What to do with the ticket, if one was given.
    pub closing: Closing,
}

/// How a ticket closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The request is over.
    Finish(Outcome, Option<Usage>),
    /// The request goes on without this replica; the ticket stays open until the engine's reports close it.
    Leave,
}

/// Bytes of a request's id that are kept. The id is a label for people, and legitimate ones are far shorter.
const ID_BYTES_MAX: usize = 256;

/// What is known of one request.
#[derive(Debug)]
pub(super) struct RequestRecord {
    opened: Timestamp,
    spare_id: u128,
    begun: bool,
    ended: bool,
    broken: bool,
    answered: bool,
    failed: bool,
    rejected: bool,
    refusal: Option<Refusal>,
    finished: RequestFinished,
}

// === impl RequestRecord ===

impl RequestRecord {
    pub(super) fn new(spare_id: u128, opened: Timestamp) -> Self {
        let finished = RequestFinished {
            request_id: String::new(),
            model: String::new(),
            target_model: String::new(),
            fairness_id: String::new(),
            priority: 0,
            outcome: Outcome::Abandoned,
            status: None,
            streaming: false,
            duration: Duration::ZERO,
            decided_after: None,
            first_token_after: None,
            request_bytes: 0,
            response_bytes: 0,
            usage: None,
            predicted_share: 0.0,
        };
        let (begun, ended, broken, answered, failed, rejected) = (false, false, false, false, false, false);
        Self { opened, spare_id, begun, ended, broken, answered, failed, rejected, refusal: None, finished }
    }

    /// The request's headers arrived at `now`. Returns whether an id had to be generated.
    pub(super) fn began(&mut self, id: Option<&str>, now: Timestamp) -> bool {
        self.begun = true;
        self.opened = now;
        self.finished.request_id = id.map_or_else(|| uuid(self.spare_id), |id| label(id).to_owned());
        id.is_none()
    }

    /// Whether the request's headers arrived.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn request_id(&self) -> &str {
        &self.finished.request_id
    }

    pub(super) fn read(&mut self, request: &InferenceRequest) {
        self.finished.model.clone_from(&request.incoming_model);
        self.finished.target_model.clone_from(&request.target_model);
        self.finished.fairness_id.clone_from(&request.fairness_id);
        self.finished.priority = request.priority;
        self.finished.streaming = request.streaming;
        self.finished.request_bytes = request.body_bytes;
    }

    pub(super) fn decided(&mut self, decision: &Decision, now: Timestamp) {
        self.finished.decided_after = Some(now.since(self.opened));
        self.finished.predicted_share = decision.primary().map_or(0.0, |target| target.matched.ratio());
    }

    /// The client's model and the engine's model, if a rewrite made them differ.
    pub(super) fn rewritten(&self) -> Option<(&str, &str)> {
        let (model, target) = (self.finished.model.as_str(), self.finished.target_model.as_str());
        (model != target).then_some((model, target))
    }

    /// The first message of an answer arrived, from an engine or from the proxy.
    pub(super) fn answer_began(&mut self) {
        self.answered = true;
    }

    pub(super) fn answered(&mut self, status: Option<u16>, streaming: bool) {
        self.finished.status = status;
        self.finished.streaming = streaming;
        match status {
            // The request can't be served as asked, but the engine is healthy.
            Some(400..=499 | 501 | 505) => self.rejected = true,
            Some(500..) => self.failed = true,
            _ => {}
        }
    }

    /// The proxy did not let the request through to the engine, whatever the status is.
    pub(super) fn held_back(&mut self) {
        (self.failed, self.rejected) = (false, true);
    }

    /// Whether the request was served, as far as is known: neither failed nor rejected.
    pub(super) fn is_served(&self) -> bool {
        !self.failed && !self.rejected
    }

    pub(super) fn answer_bytes(&mut self, bytes: usize) {
        self.finished.response_bytes += bytes as u64;
    }

    pub(super) fn first_token(&mut self, now: Timestamp) {
        self.finished.first_token_after.get_or_insert(now.since(self.opened));
    }

    pub(super) fn failed(&mut self) {
        self.failed = true;
    }

    pub(super) fn broken(&mut self) {
        self.broken = true;
    }

    pub(super) fn refused(&mut self, refusal: Refusal) {
        self.refusal = Some(refusal);
    }

    /// The end of the stream. `None` if it was returned before, or if neither a request nor an answer began and nothing
    /// was refused.
    pub(super) fn finish(
        &mut self,
        left: bool,
        whole: bool,
        usage: Option<Usage>,
        now: Timestamp,
    ) -> Option<RequestEnd> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        if let Some(Refusal { code, sentence }) = self.refusal.take() {
            let (request_id, model) = (self.finished.request_id.clone(), self.finished.model.clone());
            let event = Event::Refused { request_id, model, code, sentence };
            return Some(RequestEnd { event, closing: Closing::Finish(Outcome::Abandoned, None) });
        }
        if !self.begun {
            let closing = Closing::Finish(Outcome::Abandoned, None);
            let event = Event::LocalReply { status: self.finished.status };
            return self.answered.then_some(RequestEnd { event, closing });
        }
        let outcome = match self.finished.decided_after {
            None => Outcome::Abandoned,
            Some(_) if self.broken => Outcome::Abandoned,
            Some(_) if left => Outcome::Inferred,
            Some(_) if self.failed => Outcome::EngineError,
            Some(_) if self.rejected => Outcome::Rejected,
            Some(_) if whole => Outcome::Completed,
            Some(_) => Outcome::Abandoned,
        };
        self.finished.outcome = outcome;
        self.finished.usage = usage;
        self.finished.duration = now.since(self.opened);
        let closing = if outcome == Outcome::Inferred { Closing::Leave } else { Closing::Finish(outcome, usage) };
        Some(RequestEnd { event: Event::RequestFinished(Box::new(self.finished.clone())), closing })
    }
}

/// The beginning of an id that is too long. The engine and the client see all of it.
fn label(id: &str) -> &str {
    &id[..id.floor_char_boundary(ID_BYTES_MAX)]
}
