//! `refusals_stop`.
//!
//! Must not know why a request was refused during the storm.

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{Entry, Fact, Phase};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct RefusalsStop;

// === impl RefusalsStop ===

impl Invariant for RefusalsStop {
    fn about(&self) -> About {
        About::recovery(
            "refusals_stop",
            "from 2 s after the storm on, no replica refuses a request or leaves one unanswered",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if !scene.settled(Phase::Recovery, RECOVERY) {
            return Ok(());
        }
        match &entry.fact {
            Fact::Refused { request, replica, code, .. } => {
                broken!("replica-{replica} still refuses: request {request}, {code}")
            }
            Fact::Unanswered { request, replica, why } => {
                broken!("replica-{replica} still does not answer: request {request}, {why}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    #[test]
    fn two_seconds_after_the_storm_no_request_is_refused() {
        let refused = || Fact::Refused { request: 1, replica: 0, status: 503, code: "no-endpoints".into() };
        let unanswered = || Fact::Unanswered { request: 2, replica: 0, why: "timeout" };
        for fact in [refused, unanswered as fn() -> Fact] {
            let mut history = HistoryBuilder::calm();
            history.phase(10_000, Phase::Recovery).at(11_999).client(fact());
            assert_eq!(history.check(RefusalsStop), Ok(()));
            history.at(12_000).client(fact());
            history.breaks(RefusalsStop, "replica-0 still");
        }
    }
}
