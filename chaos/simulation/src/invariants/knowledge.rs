//! `picks_only_what_it_knows`.
//!
//! Must not know which engines really exist: a replica may be wrong together with its discovery, but not without it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::EndpointId;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact, Source};

/// How long a running replica may take to notice that an endpoint was withdrawn.
const NOTICE: Duration = Duration::from_secs(1);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct PicksOnlyWhatItKnows {
    replicas: BTreeMap<(usize, u32), Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Endpoints that joined and did not leave, by the events of the replica.
    joined: BTreeSet<EndpointId>,
    /// Endpoints that were announced to it at any time, and when each was withdrawn.
    announced: BTreeMap<EndpointId, Option<Duration>>,
}

// === impl PicksOnlyWhatItKnows ===

impl Invariant for PicksOnlyWhatItKnows {
    fn about(&self) -> About {
        About::safety(
            "picks_only_what_it_knows",
            "a decision names an endpoint that discovery announced to this replica and did not withdraw more than 1 s ago",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if let Fact::Sent { request, replica, to: None } = &entry.fact {
            return broken!("replica-{replica} sent request {request} to an address of no endpoint");
        }
        let Source::Replica(replica, start) = entry.by else { return Ok(()) };
        let known = self.replicas.entry((replica, start)).or_default();
        match &entry.fact {
            Fact::Announced(endpoints) => known.announce(endpoints, entry.at),
            Fact::Emitted(Event::EndpointJoined(endpoint)) => {
                if !known.announced.contains_key(endpoint) {
                    return broken!("replica-{replica} knows {endpoint}, which was never announced to it");
                }
                known.joined.insert(endpoint.clone());
            }
            Fact::Emitted(Event::EndpointLeft(endpoint)) => {
                known.joined.remove(endpoint);
            }
            Fact::Emitted(Event::Decided(decided)) => {
                let prefill = decided.split.as_ref().and_then(|split| split.prefill.as_ref());
                known.judge(replica, &decided.endpoint, scene)?;
                return prefill.map_or(Ok(()), |prefill| known.judge(replica, prefill, scene));
            }
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
    use crate::invariants::testing::{HistoryBuilder, decided, engine};

    fn history() -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.by(0, Fact::Announced(vec![engine(0), engine(1)]));
        history.told(0, Event::EndpointJoined(engine(0)));
        history
    }

    #[test]
    fn what_is_announced_and_joined_may_be_picked() {
        let mut history = history();
        history.told(0, decided(1, 0));
        assert_eq!(history.check(PicksOnlyWhatItKnows::default()), Ok(()));
        history.told(0, decided(2, 1));
        history.breaks(PicksOnlyWhatItKnows::default(), "not in its view");
    }

    #[test]
    fn what_one_replica_knows_does_not_count_for_another() {
        let mut history = history();
        history.told(1, decided(1, 0));
        history.breaks(PicksOnlyWhatItKnows::default(), "replica-1 decided for town/engine-0");
        let mut history = self::history();
        history.told(0, Event::EndpointJoined(engine(3)));
        history.breaks(PicksOnlyWhatItKnows::default(), "never announced");
    }

    #[test]
    fn a_withdrawal_is_noticed_within_a_second() {
        let mut history = history();
        history.at(5_000).by(0, Fact::Announced(vec![engine(1)]));
        history.at(6_000).told(0, decided(1, 0));
        assert_eq!(history.check(PicksOnlyWhatItKnows::default()), Ok(()));
        history.at(6_001).told(0, decided(2, 0));
        history.breaks(PicksOnlyWhatItKnows::default(), "withdrawn at 5s");
    }

    #[test]
    fn an_address_of_no_endpoint_is_never_legal() {
        let mut history = history();
        history.client(Fact::Sent { request: 1, replica: 0, to: None });
        history.breaks(PicksOnlyWhatItKnows::default(), "an address of no endpoint");
    }
}
