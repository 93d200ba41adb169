//! One inference request as the scheduler sees it: nothing of HTTP, Envoy or JSON is left.
//!
//! Must not know headers, streams or bodies; `actors/src/ext_proc` writes it, the [`crate::scheduler`] reads it.

pub mod prompt;
pub mod refusal;
pub mod session;
pub mod subset;

pub use prompt::Prompt;
pub use refusal::{Refusal, RefusalCode};
pub use session::Session;
pub use subset::Subset;

use crate::id::Ticket;

/// Everything a decision may depend on, and what its telling needs.
#[derive(Clone, Debug, Default)]
pub struct InferenceRequest {
    /// `x-request-id`: the client's or a generated one. A label for people, never a key.
    pub id: String,
    /// The model as the client wrote it; empty where no parser read one.
    pub incoming_model: String,
    /// The model (or LoRA adapter) the engine will be asked for, after rewriting.
    pub target_model: String,
    /// What the request asks the model to read.
    pub prompt: Prompt,
    /// Hash of the request's content (model and prompt): the seed of its [`crate::chance::Chance`].
    pub content_hash: u64,
    /// Whether the client asked for a streamed answer.
    pub streaming: bool,
    /// The output limit the client set, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Body size in bytes, zero for requests made of headers only.
    pub body_bytes: u64,
    /// Name of the `InferenceObjective`, where one was named.
    pub objective: Option<String>,
    /// Higher goes first; below zero may be shed.
    pub priority: i32,
    /// Whose share of the pool this is; `default-flow` when nobody said.
    pub fairness_id: String,
    /// The gateway's subset hint: `Some` is a wall, and an empty wall admits nobody.
    pub subset: Option<Subset>,
    /// What the client says of its session, where some plugin asks.
    pub session: Session,
    /// Whether the replica will see the answer. When not, completion is learned from the engine's own reports.
    pub attended: bool,
}

/// How a request ended, as far as this replica saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer ended in order.
    Completed,
    /// The client or Envoy went away, or the stream broke.
    Abandoned,
    /// The engine failed: it answered with a status of 500 or more, or with an error event, or could not be reached.
    EngineError,
    /// The engine answered that the request can't be served: a status from 400 to 499, or one that says that what was asked for
    /// is not there.
    Rejected,
    /// Nothing was heard for a whole lease; the last net against leaks.
    LeaseExpired,
    /// The replica left the response path on purpose and the engine's reports say the request is done, or the endpoint was withdrawn
    /// and will not report any more.
    Inferred,
}

/// Token counts that the engine itself reported in its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
    /// Prompt tokens that came from the engine's prefix cache; `None` where the engine does not tell.
    pub cached_tokens: Option<u64>,
}

/// A request together with the ticket its stream was given.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The stream's ticket.
    pub ticket: Ticket,
    /// What is asked.
    pub request: InferenceRequest,
}
