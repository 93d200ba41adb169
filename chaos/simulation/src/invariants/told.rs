//! `shares_are_told`.
//!
//! Must not know lanes beyond how long a fact takes on each. A counted number may be as old as the slowest lane allows:
//! the owner must have had it at some time since then. Facts that are not published count as zero, which no owner with
//! steady work has.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{EndpointId, Ticket};
use murmuration::schedule::Stage;

use super::{About, Broken, Invariant, Scene, broken, names, scheduler_restarted};
use crate::history::{Entry, Fact, Phase, Snapshot, Source};
use crate::plan::Fault;

/// How old a belief may be with peer streams.
const BY_STREAMS: Duration = Duration::from_millis(250);
/// How old a belief may be with gossip alone.
const BY_GOSSIP: Duration = Duration::from_millis(750);
/// How long there must have been no fault before a belief is checked.
const UNDISTURBED: Duration = Duration::from_secs(4);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct SharesAreTold {
    tickets: BTreeMap<(usize, Ticket, Stage), EndpointId>,
    /// What each replica has open on each endpoint, and in all (`None`), by stage. A prefill share may be freed at any time
    /// before its ticket closes.
    open: BTreeMap<(usize, Option<EndpointId>, Stage), Counts>,
}

/// A count and its recent values.
#[derive(Debug, Default)]
struct Counts {
    now: u64,
    /// Earlier values and until when each held, the latest last.
    before: VecDeque<(Duration, u64)>,
}

// === impl SharesAreTold ===

impl Invariant for SharesAreTold {
    fn about(&self) -> About {
        About::safety(
            "shares_are_told",
            "without faults, the open work counted for a peer is what it had within the last 250 ms, or 750 ms with gossip alone",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Emitted(Event::Decided(decided)) => {
                self.opened((replica, decided.ticket, Stage::Decode), &decided.endpoint, entry.at);
                if let Some(prefill) = decided.split.as_ref().and_then(|split| split.prefill.as_ref()) {
                    self.opened((replica, decided.ticket, Stage::Prefill), prefill, entry.at);
                }
            }
            Fact::Emitted(Event::TicketClosed { ticket, .. }) => {
                self.closed((replica, *ticket, Stage::Decode), entry.at);
                self.closed((replica, *ticket, Stage::Prefill), entry.at);
            }
            Fact::Emitted(Event::ServedElsewhere { ticket, served: Some(endpoint), .. }) => {
                self.closed((replica, *ticket, Stage::Decode), entry.at);
                self.opened((replica, *ticket, Stage::Decode), endpoint, entry.at);
            }
            Fact::Emitted(Event::EndpointLeft(endpoint)) => self.left(replica, endpoint, entry.at),
            fact if *fact == Fact::Stopped || scheduler_restarted(fact) => self.gone(replica),
            Fact::SnapshotTaken(snapshot) if undisturbed(scene) => return self.judge(replica, snapshot, scene),
            _ => {}
        }
        Ok(())
    }
}

impl SharesAreTold {
    fn opened(&mut self, share: (usize, Ticket, Stage), endpoint: &EndpointId, at: Duration) {
        self.tickets.insert(share, endpoint.clone());
        for of in [Some(endpoint.clone()), None] {
            let counts = self.open.entry((share.0, of, share.2)).or_default();
            counts.set(counts.now + 1, at);
        }
    }

    fn closed(&mut self, share: (usize, Ticket, Stage), at: Duration) {
        let Some(endpoint) = self.tickets.remove(&share) else { return };
        for of in [Some(endpoint), None] {
            if let Some(counts) = self.open.get_mut(&(share.0, of, share.2)) {
                counts.set(counts.now.saturating_sub(1), at);
            }
        }
    }

    /// The endpoint left the owner's pool: requests there stay open, but no longer count as work on any endpoint.
    fn left(&mut self, replica: usize, endpoint: &EndpointId, at: Duration) {
        let there = self.tickets.iter().filter(|((owner, ..), on)| *owner == replica && *on == endpoint);
        let shares: Vec<(usize, Ticket, Stage)> = there.map(|(share, _)| *share).collect();
        shares.into_iter().for_each(|share| self.closed(share, at));
    }

    fn gone(&mut self, replica: usize) {
        self.tickets.retain(|(owner, ..), _| *owner != replica);
        self.open.retain(|(owner, ..), _| *owner != replica);
    }

    /// The least and the most that a replica may have had open since this moment.
    fn within(&self, owner: usize, on: &Option<EndpointId>, since: Duration) -> (u64, u64) {
        let of = |stage| self.open.get(&(owner, on.clone(), stage)).map_or((0, 0), |counts| counts.within(since));
        let ((least, most), (_, prefills)) = (of(Stage::Decode), of(Stage::Prefill));
        (least, most + prefills)
    }

    fn judge(&self, replica: usize, snapshot: &Snapshot, scene: &Scene) -> Result<(), Broken> {
        let since = scene.now().saturating_sub(if scene.plan().cluster.peer_streams { BY_STREAMS } else { BY_GOSSIP });
        for owner in scene.living().filter(|owner| *owner != replica) {
            let peer = snapshot.fleet.peers.iter().find(|peer| names::replica(&peer.replica) == Some(owner));
            let believed = peer.map_or(0, |peer| u64::from(peer.in_flight.requests));
            let (least, most) = self.within(owner, &None, since);
            if !(least..=most).contains(&believed) {
                return broken!(
                    "replica-{replica} believes {believed} requests of replica-{owner} open, which had {least} to {most} since {since:?}"
                );
            }
        }
        for endpoint in &snapshot.fleet.endpoints {
            let id = Some(endpoint.endpoint.id.clone());
            let others = scene.living().filter(|owner| *owner != replica);
            let bounds = others.map(|owner| self.within(owner, &id, since));
            let (least, most) = bounds.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let believed = u64::from(endpoint.foreign.requests);
            if !(least..=most).contains(&believed) {
                return broken!(
                    "replica-{replica} believes {believed} requests of peers open on {}, where they had {least} to {most} since {since:?}",
                    endpoint.endpoint.id
                );
            }
        }
        Ok(())
    }
}

// === impl Counts ===

impl Counts {
    fn set(&mut self, count: u64, at: Duration) {
        self.before.push_back((at, self.now));
        self.now = count;
        let old = at.saturating_sub(BY_GOSSIP);
        while self.before.front().is_some_and(|(until, _)| *until < old) {
            self.before.pop_front();
        }
    }

    /// The least and the most that the count was since this moment.
    fn within(&self, since: Duration) -> (u64, u64) {
        let before = self.before.iter().filter(|(until, _)| *until >= since).map(|(_, count)| *count);
        before.fold((self.now, self.now), |(least, most), count| (least.min(count), most.max(count)))
    }
}

/// Whether for a while no message can have been late or lost, no replica was away, and no endpoint came or left.
fn undisturbed(scene: &Scene) -> bool {
    let all_awake = (0..scene.plan().cluster.replicas).all(|replica| scene.awake_for(replica, UNDISTURBED));
    let started = (Phase::Storm..=Phase::Quiesced).contains(&scene.phase());
    started && all_awake && !scene.peer_links_faulty(UNDISTURBED) && !scene.feels(UNDISTURBED, Fault::changes_endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, closed, decided, engine, open};

    /// Replica 0 has two requests open on engine 1 from 8 s on, and one from 9 s on; a snapshot of replica 1 counts
    /// `believed`.
    fn history(believed: u32, snapshot_at: u64) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.at(8_000).told(0, decided(1, 1));
        history.told(0, decided(2, 1));
        history.at(9_000).told(0, closed(1));
        history.at(snapshot_at).sees(1, |snapshot| {
            snapshot.fleet.peers[0].in_flight = open(believed);
            snapshot.fleet.endpoints[1].foreign = open(believed);
        });
        history
    }

    #[test]
    fn what_its_owner_had_recently_may_be_counted() {
        for (believed, at) in [(1, 9_000), (2, 9_000), (2, 9_250), (1, 20_000)] {
            assert_eq!(history(believed, at).check(SharesAreTold::default()), Ok(()), "{believed} at {at}");
        }
        history(2, 9_251).breaks(SharesAreTold::default(), "2 requests of replica-0 open, which had 1 to 1");
        history(3, 9_000).breaks(SharesAreTold::default(), "3 requests of replica-0 open, which had 1 to 2");
    }

    /// Seed 1660414122 at fd5bede: discovery withdrew all endpoints while requests were open.
    #[test]
    fn requests_on_an_endpoint_that_left_are_not_counted() {
        let mut history = HistoryBuilder::calm();
        history.at(8_000).told(0, decided(1, 1));
        history.told(0, decided(2, 2));
        history.at(9_000).told(0, Event::EndpointLeft(engine(1)));
        history.at(20_000).sees(1, |snapshot| {
            snapshot.fleet.peers[0].in_flight = open(1);
            snapshot.fleet.endpoints[2].foreign = open(1);
        });
        assert_eq!(history.check(SharesAreTold::default()), Ok(()));
    }

    #[test]
    fn a_replica_that_publishes_nothing_is_found() {
        history(0, 9_100).breaks(SharesAreTold::default(), "0 requests of replica-0 open, which had 1 to 2");
        let mut history = history(1, 20_000);
        history.sees(2, |snapshot| snapshot.fleet.peers[0].in_flight = open(1));
        history.breaks(SharesAreTold::default(), "0 requests of peers open on town/engine-1");
    }

    #[test]
    fn with_late_messages_nothing_is_judged() {
        use crate::plan::Place;
        let lossy = Fault::Loss { from: Place::Replicas, to: Place::Replicas, share: 0.2 };
        let mut history = history(0, 9_100);
        let mut stormy = HistoryBuilder::with(vec![lossy]);
        stormy.at(7_000).world(Fact::FaultBegan(0));
        stormy.entries.extend(history.entries.drain(4..));
        assert_eq!(stormy.check(SharesAreTold::default()), Ok(()));
    }
}
