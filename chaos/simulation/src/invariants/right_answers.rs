//! `no_wrong_answer`.
//!
//! Must not know how KV gets from one engine to another. The tokens of a model engine follow from the KV that it had,
//! so the client knows which are due.

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct NoWrongAnswer;

// === impl NoWrongAnswer ===

impl Invariant for NoWrongAnswer {
    fn about(&self) -> About {
        About::safety("no_wrong_answer", "every token that a client gets follows from the KV of its own prompt")
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::WrongAnswer { request, by } => {
                broken!("{by} answered request {request} from the KV of another prompt")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};

    #[test]
    fn a_wrong_answer_is_never_legal() {
        let mut history = HistoryBuilder::calm();
        assert_eq!(history.check(NoWrongAnswer), Ok(()));
        history.client(Fact::WrongAnswer { request: 4, by: engine(1) });
        history.breaks(NoWrongAnswer, "town/engine-1 answered request 4");
    }
}
