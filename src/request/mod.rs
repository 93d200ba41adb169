//! One inference request as the scheduler sees it, without HTTP, Envoy or JSON.
//!
//! Must not know headers, streams or bodies; `actors/src/ext_proc` builds it, the [`crate::scheduler`] reads it.

pub mod attributes;
pub mod prompt;
pub mod refusal;
pub mod rewrites;
pub mod session;
pub mod subset;

use std::collections::BTreeMap;
use std::time::Duration;

pub use attributes::Attributes;
pub use prompt::Prompt;
pub use refusal::{Refusal, RefusalCode};
pub use rewrites::Rewrites;
pub use session::Session;
pub use subset::Subset;

use crate::id::Ticket;

/// Everything a decision may depend on, and what its report needs.
#[derive(Clone, Debug, Default)]
pub struct InferenceRequest {
    /// `x-request-id`: the client's or a generated one. A label for people; never use it as a key.
    pub id: String,
    /// The model as the client wrote it; empty if no parser read one.
    pub incoming_model: String,
    /// The model (or LoRA adapter) the engine will be asked for, after rewriting.
    pub target_model: String,
    /// The name of the rule that rewrote it; `None` where none did, or a header.
    pub rewritten_by: Option<String>,
    /// The prompt's size and chain of blocks.
    pub prompt: Prompt,
    /// Hash of the request's content (model and prompt): the seed of its [`crate::chance::Chance`].
    pub content_hash: u64,
    /// Whether the client asked for a streamed answer.
    pub streaming: bool,
    /// The output limit the client set, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Body size in bytes, zero for requests made of headers only.
    pub body_bytes: u64,
    /// Name of the `InferenceObjective`, if the request names one.
    pub objective: Option<String>,
    /// Higher goes first; requests below zero may be shed.
    pub priority: i32,
    /// The flow that this request counts towards; `default-flow` if the request names none.
    pub fairness_id: String,
    /// The gateway's subset hint: `Some` restricts the candidates, and an empty subset admits none.
    pub subset: Option<Subset>,
    /// The request's session, read only if some plugin uses sessions.
    pub session: Session,
    /// What producers learned of it; empty where none is configured.
    pub attributes: Attributes,
    /// Those of its headers that plugins read, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The scheduling profile that it names, read only if the profile handler asks for it.
    pub profile: Option<String>,
    /// Whether it may only be served by an endpoint that holds some of its prompt (`Prefer: if-available`).
    pub if_available: bool,
    /// The zone that the request came from; `None` if the gateway does not say it.
    pub zone: Option<String>,
    /// Whether the replica will see the answer. If not, it infers completion from the engine's own reports.
    pub sees_response: bool,
}

/// How a request ended, as far as this replica saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer ended normally.
    Completed,
    /// The client or Envoy disconnected, or the stream broke.
    Abandoned,
    /// The engine failed: it answered with a status of 500 or more (except 501 and 505) or an error event, or could not
    /// be reached.
    EngineError,
    /// The request can't be served, and the engine is well: it answered with a status from 400 to 499, 501 or 505, or
    /// the proxy did not let the request through.
    Rejected,
    /// No update arrived for a whole lease. This is the last safeguard against leaked tickets.
    LeaseExpired,
    /// The replica left the response path on purpose, and the engine's reports show that the request is done. Also if
    /// the endpoint was withdrawn and will not report any more.
    Inferred,
}

/// Token counts that the engine itself reported in its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Prompt tokens that came from the engine's prefix cache; `None` if the engine does not report them.
    pub cached_tokens: Option<u64>,
}

/// A request together with its stream's ticket.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The stream's ticket.
    pub ticket: Ticket,
    /// The request.
    pub request: Box<InferenceRequest>,
    /// How long it was kept back for its decision: [`Scheduler::wait_in_crowd`].
    ///
    /// [`Scheduler::wait_in_crowd`]: crate::scheduler::Scheduler::wait_in_crowd
    pub waited: Duration,
}

// === impl Asked ===

impl Asked {
    /// A request that was not kept back.
    pub fn new(ticket: Ticket, request: InferenceRequest) -> Self {
        Self { ticket, request: Box::new(request), waited: Duration::ZERO }
    }
}
