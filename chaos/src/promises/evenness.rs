//! `load_evens_out`.
//!
//! Must not know prefixes: that conversations stay where they are makes load uneven, and the bound has room for it.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;

use super::stampede::sharers;
use super::{Broken, HEALING, Kind, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Phase};
use crate::plan::Plan;

/// Times its share that an endpoint may have.
const TIMES: usize = 3;
/// Requests beyond that.
const SLACK: usize = 20;

/// See [`Promise::meaning`].
#[derive(Debug)]
pub(super) struct LoadEvensOut {
    sharers: usize,
    sent: BTreeMap<EndpointId, usize>,
}

// === impl LoadEvensOut ===

impl LoadEvensOut {
    pub(super) fn new(plan: &Plan) -> Self {
        Self { sharers: sharers(plan), sent: BTreeMap::new() }
    }
}

impl Promise for LoadEvensOut {
    fn name(&self) -> &'static str {
        "load_evens_out"
    }

    fn meaning(&self) -> &'static str {
        "of the requests that come after the storm has healed, no endpoint gets more than three times its share (and 20)"
    }

    fn kind(&self) -> Kind {
        Kind::Healing
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if let Fact::Sent { to: Some(to), .. } = &entry.fact
            && scene.settled(Phase::Healing, HEALING)
        {
            *self.sent.entry(to.clone()).or_default() += 1;
        }
        Ok(())
    }

    fn end(&mut self, _scene: &Scene) -> Result<(), Broken> {
        let all: usize = self.sent.values().sum();
        let most = TIMES * all / self.sharers + SLACK;
        match self.sent.iter().find(|(_, sent)| **sent > most) {
            Some((endpoint, sent)) => {
                broken!("{endpoint} got {sent} of {all} requests after the storm, at most {most}")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::Tale;

    fn sent(to_one: u64) -> Tale {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Healing).at(12_000);
        (0..40).for_each(|request| tale.sent(request, 0, 1 + request as usize % 3));
        (0..to_one).for_each(|request| tale.sent(100 + request, 0, 0));
        tale
    }

    #[test]
    fn three_times_the_share_and_twenty_is_the_most() {
        // 3 * (40 + n) / 4 + 20 >= n, up to 200.
        let tale = sent(200);
        assert_eq!(tale.judged(LoadEvensOut::new(&tale.plan)), Ok(()));
        let tale = sent(201);
        tale.breaks(LoadEvensOut::new(&tale.plan), "town/engine-0 got 201 of 241 requests");
    }
}
