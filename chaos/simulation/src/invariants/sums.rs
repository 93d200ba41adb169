//! `shares_are_what_their_owners_have`.
//!
//! Must not know lanes. The open work counted for a peer must be a number that the peer had at some time, not a sum of
//! changes.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{EndpointId, Ticket};
use murmuration::schedule::Stage;

use super::{About, Broken, CLEANUP, Invariant, Scene, broken, names};
use crate::history::{Entry, Fact, Snapshot, Source};
use crate::plan::Fault;

/// How long the greatest number of open requests counts as recent, at least.
const RECENT: Duration = Duration::from_secs(2);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct SharesAreWhatTheirOwnersHave {
    /// By stage: a pair has two shares. That of the prefill stage counts until the ticket closes, and is freed before.
    tickets: BTreeMap<(usize, Ticket, Stage), EndpointId>,
    open: BTreeMap<(usize, EndpointId), Count>,
    rotated: Duration,
}

/// What one replica has open on one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    now: u64,
    /// The most since the last rotation, and between the last two rotations.
    recent: [u64; 2],
    /// The most ever.
    ever: u64,
}

// === impl SharesAreWhatTheirOwnersHave ===

impl Invariant for SharesAreWhatTheirOwnersHave {
    fn about(&self) -> About {
        About::safety(
            "shares_are_what_their_owners_have",
            "no replica counts more open requests of peers, in all or on an endpoint, than they had at some time; without faults, than they had recently",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if scene.now() >= self.rotated + RECENT {
            self.rotated = scene.now();
            self.open.values_mut().for_each(|count| count.recent = [count.now, count.recent[0]]);
        }
        let Source::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Emitted(Event::Decided(decided)) => {
                self.opened(replica, decided.ticket, Stage::Decode, decided.endpoint.clone());
                if let Some(prefill) = decided.split.as_ref().and_then(|split| split.prefill.clone()) {
                    self.opened(replica, decided.ticket, Stage::Prefill, prefill);
                }
            }
            Fact::Emitted(Event::TicketClosed { ticket, .. }) => {
                self.closed(replica, *ticket, Stage::Decode);
                self.closed(replica, *ticket, Stage::Prefill);
            }
            Fact::Emitted(Event::ServedElsewhere { ticket, served: Some(endpoint), .. }) => {
                self.closed(replica, *ticket, Stage::Decode);
                self.opened(replica, *ticket, Stage::Decode, endpoint.clone());
            }
            Fact::Stopped => self.gone(replica),
            Fact::SnapshotTaken(snapshot) => return self.judge(replica, snapshot, scene),
            _ => {}
        }
        Ok(())
    }
}

impl SharesAreWhatTheirOwnersHave {
    fn opened(&mut self, replica: usize, ticket: Ticket, stage: Stage, endpoint: EndpointId) {
        let count = self.open.entry((replica, endpoint.clone())).or_default();
        count.now += 1;
        count.recent[0] = count.recent[0].max(count.now);
        count.ever = count.ever.max(count.now);
        self.tickets.insert((replica, ticket, stage), endpoint);
    }

    fn closed(&mut self, replica: usize, ticket: Ticket, stage: Stage) {
        let Some(endpoint) = self.tickets.remove(&(replica, ticket, stage)) else { return };
        if let Some(count) = self.open.get_mut(&(replica, endpoint)) {
            count.now = count.now.saturating_sub(1);
        }
    }

    fn gone(&mut self, replica: usize) {
        self.tickets.retain(|(owner, ..), _| *owner != replica);
        self.open.iter_mut().filter(|((owner, _), _)| *owner == replica).for_each(|(_, count)| count.now = 0);
    }

    fn judge(&self, replica: usize, snapshot: &Snapshot, scene: &Scene) -> Result<(), Broken> {
        let undisturbed = !disturbed(scene, CLEANUP + RECENT);
        let most = |count: &Count| if undisturbed { count.recent[0].max(count.recent[1]) } else { count.ever };
        for peer in &snapshot.fleet.peers {
            let Some(owner) = names::replica(&peer.replica) else { continue };
            let of_owner = self.open.iter().filter(|((who, _), _)| *who == owner);
            let bound: u64 = of_owner.map(|(_, count)| most(count)).sum();
            let believed = u64::from(peer.in_flight.requests);
            if believed > bound {
                return broken!(
                    "replica-{replica} believes {believed} requests of replica-{owner} open, which had {bound} at most"
                );
            }
        }
        for endpoint in &snapshot.fleet.endpoints {
            let id = &endpoint.endpoint.id;
            let others = self.open.iter().filter(|((who, on), _)| *who != replica && on == id);
            let bound: u64 = others.map(|(_, count)| most(count)).sum();
            let believed = u64::from(endpoint.foreign.requests);
            if believed > bound {
                return broken!(
                    "replica-{replica} believes {believed} requests of peers open on {id}, where they had {bound} at most"
                );
            }
        }
        Ok(())
    }
}

/// Whether messages may have been late or lost, replicas away, or endpoints changing, within `span`.
fn disturbed(scene: &Scene, span: Duration) -> bool {
    let away = (0..scene.plan().cluster.replicas).any(|replica| !scene.awake_for(replica, span));
    away || scene.peer_links_faulty(span) || scene.feels(span, Fault::changes_endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, closed, decided, open, well};

    /// Replica 0 had two requests open on engine 1, and now has one; replica 1 is seen in a snapshot.
    fn history(believed: u32, foreign: u32, snapshot_at: u64) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.at(8_000).told(0, decided(1, 1));
        history.told(0, decided(2, 1));
        history.told(0, closed(1));
        for at in (8_500..snapshot_at).step_by(500) {
            history.at(at).snapshot(2, well(2));
        }
        history.at(snapshot_at).sees(1, |snapshot| {
            snapshot.fleet.peers[0].in_flight = open(believed);
            snapshot.fleet.endpoints[1].foreign = open(foreign);
        });
        history
    }

    #[test]
    fn what_was_open_recently_may_still_be_counted() {
        assert_eq!(history(2, 2, 8_100).check(SharesAreWhatTheirOwnersHave::default()), Ok(()));
        history(3, 2, 8_100)
            .breaks(SharesAreWhatTheirOwnersHave::default(), "3 requests of replica-0 open, which had 2");
        history(2, 3, 8_100)
            .breaks(SharesAreWhatTheirOwnersHave::default(), "3 requests of peers open on town/engine-1");
    }

    #[test]
    fn without_faults_the_end_of_requests_is_known_soon() {
        assert_eq!(history(1, 1, 14_000).check(SharesAreWhatTheirOwnersHave::default()), Ok(()));
        history(2, 1, 14_000).breaks(SharesAreWhatTheirOwnersHave::default(), "which had 1 at most");
    }
}
