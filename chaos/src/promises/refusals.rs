//! `refusals_stop`.
//!
//! Must not know why somebody was refused in the storm.

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct RefusalsStop;

// === impl RefusalsStop ===

impl Promise for RefusalsStop {
    fn name(&self) -> &'static str {
        "refusals_stop"
    }

    fn meaning(&self) -> &'static str {
        "2 s after the storm no replica refuses a request or fails to answer one"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if !scene.settled(Phase::Healing, HEALING) {
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
    use crate::promises::testing::Tale;

    #[test]
    fn two_seconds_after_the_storm_nobody_is_refused() {
        let refused = || Fact::Refused { request: 1, replica: 0, status: 503, code: "no-endpoints".into() };
        let unanswered = || Fact::Unanswered { request: 2, replica: 0, why: "timeout" };
        for fact in [refused, unanswered as fn() -> Fact] {
            let mut tale = Tale::calm();
            tale.phase(10_000, Phase::Healing).at(11_999).client(fact());
            assert_eq!(tale.judged(RefusalsStop), Ok(()));
            tale.at(12_000).client(fact());
            tale.breaks(RefusalsStop, "replica-0 still");
        }
    }
}
