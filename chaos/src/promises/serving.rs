//! `everybody_is_served`.
//!
//! Must not know replicas: what counts is what the client has in its hands.

use std::collections::BTreeSet;

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{End, Entry, Fact, Phase};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct EverybodyIsServed {
    asked: BTreeSet<u64>,
    served: usize,
}

// === impl EverybodyIsServed ===

impl Promise for EverybodyIsServed {
    fn name(&self) -> &'static str {
        "everybody_is_served"
    }

    fn meaning(&self) -> &'static str {
        "a request that is asked 2 s after the storm or later is served, whole"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Asked { request, attempt: 0, .. } if scene.settled(Phase::Healing, HEALING) => {
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
            Some(request) => broken!("request {request} was not served after the storm, nor told so"),
            None if scene.phase() == Phase::Rest && self.served == 0 => broken!("nobody was served after the storm"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::Tale;

    fn asked(at: u64, end: Option<End>) -> Tale {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Healing).at(at).ask(1, 0, 0);
        if let Some(end) = end {
            tale.at(15_000).client(Fact::Done { request: 1, end, first_token: None, prompt: (0, 0) });
        }
        tale
    }

    #[test]
    fn who_asks_after_the_storm_is_served() {
        assert_eq!(asked(12_000, Some(End::Served)).judged(EverybodyIsServed::default()), Ok(()));
        assert_eq!(asked(11_999, Some(End::EngineFailed)).judged(EverybodyIsServed::default()), Ok(()));
        asked(12_000, Some(End::EngineFailed)).breaks(EverybodyIsServed::default(), "request 1 was not served");
        asked(12_000, None).breaks(EverybodyIsServed::default(), "nor told so");
    }

    #[test]
    fn a_town_without_anybody_served_has_not_healed() {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Rest);
        tale.breaks(EverybodyIsServed::default(), "nobody was served");
    }
}
