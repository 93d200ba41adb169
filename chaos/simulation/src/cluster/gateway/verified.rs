//! The client's check of an answer: its tokens follow from the KV that the engine had, and must be those of its prompt.
//!
//! Must not know where the KV came from.

use murmuration_engine_sim::model::{Output, Request, right_answer};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Shared;
use crate::cluster::engine;
use crate::history::{Fact, Source};

/// The answer that is due.
pub(super) struct RightAnswer {
    request: u64,
    engine: usize,
    due: Box<dyn Iterator<Item = u32> + Send>,
    is_wrong: bool,
}

/// An answer on its way, each token of which is checked.
pub(super) struct Verified<'a> {
    pub(super) shared: &'a Shared,
    pub(super) outputs: UnboundedReceiver<Output>,
    pub(super) right: RightAnswer,
}

// === impl RightAnswer ===

impl RightAnswer {
    /// The right answer to a request of this engine.
    pub(super) fn to(request: &Request, engine: usize) -> Self {
        let due = Box::new(right_answer(request.clone(), &engine::config(engine)));
        Self { request: request.id, engine, due, is_wrong: false }
    }

    /// Checks the next token, and records the first that is wrong.
    pub(super) fn check(&mut self, shared: &Shared, output: &Output) {
        if self.due.next() != Some(output.token) && !self.is_wrong {
            self.is_wrong = true;
            let by = shared.directory.id(self.engine);
            shared.recorder.write(Source::Client, Fact::WrongAnswer { request: self.request, by });
        }
    }
}

// === impl Verified ===

impl Verified<'_> {
    /// The next token.
    pub(super) async fn next(&mut self) -> Option<Output> {
        let output = self.outputs.recv().await?;
        self.right.check(self.shared, &output);
        Some(output)
    }
}
