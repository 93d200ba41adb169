//! `decisions_agree`.
//!
//! Must not know how one decides: the same request is put to all, and nobody reserves.

use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase, Twin};

/// Requests that must have been put to all for a judgement under load.
const TWINS_MIN: usize = 4;

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct DecisionsAgree {
    put: usize,
    agreed: usize,
}

/// Whether all say the same.
pub(crate) fn agree(twins: &[Twin]) -> bool {
    twins.windows(2).all(|pair| pair[0].to == pair[1].to)
}

// === impl DecisionsAgree ===

impl Promise for DecisionsAgree {
    fn name(&self) -> &'static str {
        "decisions_agree"
    }

    fn meaning(&self) -> &'static str {
        "the same request gets the same answer from every replica: always 2 s after the last request, with streams mostly under load after the storm"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Fact::Twins(twins) = &entry.fact else { return Ok(()) };
        if scene.rests(HEALING) && !agree(twins) {
            let said: Vec<String> = twins.iter().map(told).collect();
            return broken!("replicas at rest do not agree: {}", said.join(", "));
        }
        // By gossip alone a newcomer learns no history, and placements are older.
        if scene.phase() == Phase::Healed && scene.plan().town.peer_streams {
            self.put += 1;
            self.agreed += usize::from(agree(twins));
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let Self { put, agreed } = *self;
        match put >= TWINS_MIN && agreed * 2 < put {
            true => broken!("after the storm replicas agreed on {agreed} of {put} requests"),
            false => Ok(()),
        }
    }
}

fn told(twin: &Twin) -> String {
    let to = twin.to.as_ref().map_or("nobody", |to| to.name());
    format!("replica-{} {to} {}/{}", twin.replica, twin.matched.0, twin.matched.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, engine};

    fn twins(to: [usize; 2]) -> Fact {
        let twin = |(replica, to): (usize, usize)| Twin { replica, to: Some(engine(to)), matched: (1, 2), held: 1 };
        Fact::Twins(to.into_iter().enumerate().map(twin).collect())
    }

    #[test]
    fn at_rest_all_answer_alike() {
        for (at, right) in [(11_999, true), (12_000, false)] {
            let mut tale = Tale::calm();
            tale.phase(10_000, Phase::Rest).at(at).world(twins([1, 2]));
            assert_eq!(tale.judged(DecisionsAgree::default()).is_ok(), right);
        }
    }

    #[test]
    fn under_load_most_answer_alike() {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Healed);
        [[1, 1], [1, 2], [2, 2], [0, 1]].into_iter().for_each(|to| tale.world(twins(to)));
        assert_eq!(tale.judged(DecisionsAgree::default()), Ok(()));
        tale.world(twins([0, 2]));
        tale.breaks(DecisionsAgree::default(), "agreed on 2 of 5");
    }
}
