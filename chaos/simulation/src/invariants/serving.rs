//! `everybody_is_served`.
//!
//! Must not know replicas: only what the client received counts.

use std::collections::BTreeSet;

use super::{About, Broken, Invariant, RECOVERY, Scene, broken};
use crate::history::{End, Entry, Fact, Phase};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct EverybodyIsServed {
    asked: BTreeSet<u64>,
    served: usize,
}

// === impl EverybodyIsServed ===

impl Invariant for EverybodyIsServed {
    fn about(&self) -> About {
        About::recovery(
            "everybody_is_served",
            "a request that is sent 2 s after the storm or later is served completely",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Asked { request, attempt: 0, .. } if scene.settled(Phase::Recovery, RECOVERY) => {
                self.asked.insert(*request);
                Ok(())
            }
            Fact::Done { request, end, .. } if self.asked.remove(request) => match end {
                End::Served | End::Vanished => {
                    self.served += 1;
                    Ok(())
                }
                end => broken!("request {request} was not served after the storm: {end:?}"),
            },
            _ => Ok(()),
        }
    }

    fn end(&mut self, scene: &Scene) -> Result<(), Broken> {
        match self.asked.iter().next() {
            Some(request) => broken!("request {request} was not served after the storm: it has no end"),
            None if scene.phase() == Phase::Quiesced && self.served == 0 => {
                broken!("no request was served after the storm")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::HistoryBuilder;

    fn asked(at: u64, end: Option<End>) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Recovery).at(at).ask(1, 0, 0);
        if let Some(end) = end {
            history.at(15_000).client(Fact::Done { request: 1, end, first_token: None, prompt: (0, 0) });
        }
        history
    }

    #[test]
    fn a_request_after_the_storm_is_served() {
        assert_eq!(asked(12_000, Some(End::Served)).check(EverybodyIsServed::default()), Ok(()));
        assert_eq!(asked(11_999, Some(End::EngineFailed)).check(EverybodyIsServed::default()), Ok(()));
        asked(12_000, Some(End::EngineFailed)).breaks(EverybodyIsServed::default(), "request 1 was not served");
        asked(12_000, None).breaks(EverybodyIsServed::default(), "it has no end");
    }

    #[test]
    fn a_cluster_that_serves_no_request_has_not_recovered() {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Quiesced);
        history.breaks(EverybodyIsServed::default(), "no request was served");
    }
}
