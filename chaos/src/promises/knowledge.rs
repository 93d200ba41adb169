//! `picks_only_what_it_knows`.
//!
//! Must not know what is really there: a replica may be wrong with its discovery, never without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::EndpointId;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Witness};

/// How long a replica that is awake may take to notice that an endpoint was withdrawn.
const NOTICE: Duration = Duration::from_secs(1);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct PicksOnlyWhatItKnows {
    replicas: BTreeMap<(usize, u32), Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Joined and not left, as the replica told.
    joined: BTreeSet<EndpointId>,
    /// Ever announced to it, and when it was withdrawn.
    announced: BTreeMap<EndpointId, Option<Duration>>,
}

// === impl PicksOnlyWhatItKnows ===

impl Promise for PicksOnlyWhatItKnows {
    fn name(&self) -> &'static str {
        "picks_only_what_it_knows"
    }

    fn meaning(&self) -> &'static str {
        "a decision names an endpoint that discovery announced to this replica and has not withdrawn for more than 1 s"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if let Fact::Sent { request, replica, to: None } = &entry.fact {
            return broken!("replica-{replica} sent request {request} to an address that is nobody's");
        }
        let Witness::Replica(replica, life) = entry.by else { return Ok(()) };
        let known = self.replicas.entry((replica, life)).or_default();
        match &entry.fact {
            Fact::Announced(endpoints) => known.announce(endpoints, entry.at),
            Fact::Told(Event::EndpointJoined(endpoint)) => {
                if !known.announced.contains_key(endpoint) {
                    return broken!("replica-{replica} knows {endpoint}, which was never announced to it");
                }
                known.joined.insert(endpoint.clone());
            }
            Fact::Told(Event::EndpointLeft(endpoint)) => {
                known.joined.remove(endpoint);
            }
            Fact::Told(Event::Decided(decided)) => return known.judge(replica, &decided.endpoint, scene),
            _ => {}
        }
        Ok(())
    }
}

// === impl Known ===

impl Known {
    fn announce(&mut self, endpoints: &[EndpointId], at: Duration) {
        for (endpoint, withdrawn) in &mut self.announced {
            match endpoints.contains(endpoint) {
                true => *withdrawn = None,
                false => *withdrawn = withdrawn.or(Some(at)),
            }
        }
        self.announced.extend(endpoints.iter().map(|endpoint| (endpoint.clone(), None)));
    }

    fn judge(&self, replica: usize, endpoint: &EndpointId, scene: &Scene) -> Result<(), Broken> {
        if !self.joined.contains(endpoint) {
            return broken!("replica-{replica} decided for {endpoint}, which is not in its view");
        }
        match self.announced.get(endpoint) {
            Some(Some(withdrawn)) if scene.now() > *withdrawn + NOTICE && scene.awake_for(replica, NOTICE) => {
                broken!("replica-{replica} decided for {endpoint}, which was withdrawn at {withdrawn:?}")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, decided, engine};

    fn tale() -> Tale {
        let mut tale = Tale::calm();
        tale.by(0, Fact::Announced(vec![engine(0), engine(1)]));
        tale.told(0, Event::EndpointJoined(engine(0)));
        tale
    }

    #[test]
    fn what_is_announced_and_joined_may_be_picked() {
        let mut tale = tale();
        tale.told(0, decided(1, 0));
        assert_eq!(tale.judged(PicksOnlyWhatItKnows::default()), Ok(()));
        tale.told(0, decided(2, 1));
        tale.breaks(PicksOnlyWhatItKnows::default(), "not in its view");
    }

    #[test]
    fn what_one_replica_knows_another_does_not() {
        let mut tale = tale();
        tale.told(1, decided(1, 0));
        tale.breaks(PicksOnlyWhatItKnows::default(), "replica-1 decided for town/engine-0");
        let mut tale = self::tale();
        tale.told(0, Event::EndpointJoined(engine(3)));
        tale.breaks(PicksOnlyWhatItKnows::default(), "never announced");
    }

    #[test]
    fn a_withdrawal_is_noticed_within_a_second() {
        let mut tale = tale();
        tale.at(5_000).by(0, Fact::Announced(vec![engine(1)]));
        tale.at(6_000).told(0, decided(1, 0));
        assert_eq!(tale.judged(PicksOnlyWhatItKnows::default()), Ok(()));
        tale.at(6_001).told(0, decided(2, 0));
        tale.breaks(PicksOnlyWhatItKnows::default(), "withdrawn at 5s");
    }

    #[test]
    fn an_address_that_is_nobodys_is_never_right() {
        let mut tale = tale();
        tale.client(Fact::Sent { request: 1, replica: 0, to: None });
        tale.breaks(PicksOnlyWhatItKnows::default(), "nobody's");
    }
}
