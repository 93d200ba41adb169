//! `shares_are_told`.
//!
//! Must not know lanes beyond how long a word takes by them. A belief may be as old as the slowest lane allows: it must be a count that
//! its owner had at some time since then. What nobody is told is believed to be nothing, which no owner with steady work has.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{EndpointId, Ticket};

use super::{Broken, Promise, Scene, broken, names, scheduler_restarted};
use crate::chronicle::{Entry, Fact, Look, Phase, Witness};
use crate::plan::Fault;

/// How old a belief may be where replicas follow each other by streams.
const BY_STREAMS: Duration = Duration::from_millis(250);
/// How old it may be by gossip alone.
const BY_GOSSIP: Duration = Duration::from_millis(750);
/// For how long nothing may have gone wrong before a belief is judged.
const FAIR: Duration = Duration::from_secs(4);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct SharesAreTold {
    tickets: BTreeMap<(usize, Ticket), EndpointId>,
    /// What each replica has open on each endpoint, and in all (`None`).
    open: BTreeMap<(usize, Option<EndpointId>), Counts>,
}

/// A count and what it was of late.
#[derive(Debug, Default)]
struct Counts {
    now: u64,
    /// Until when it was which other number; the youngest last.
    before: VecDeque<(Duration, u64)>,
}

// === impl SharesAreTold ===

impl Promise for SharesAreTold {
    fn name(&self) -> &'static str {
        "shares_are_told"
    }

    fn meaning(&self) -> &'static str {
        "in fair weather what is believed of a peer's open work is what it had within the last 250 ms, by gossip alone 750 ms"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Witness::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Told(Event::Decided(decided)) => self.opened(replica, decided.ticket, &decided.endpoint, entry.at),
            Fact::Told(Event::TicketClosed { ticket, .. }) => self.closed(replica, *ticket, entry.at),
            Fact::Told(Event::ServedElsewhere { ticket, served: Some(endpoint), .. }) => {
                self.closed(replica, *ticket, entry.at);
                self.opened(replica, *ticket, endpoint, entry.at);
            }
            Fact::Told(Event::EndpointLeft(endpoint)) => self.left(replica, endpoint, entry.at),
            fact if *fact == Fact::Gone || scheduler_restarted(fact) => self.gone(replica),
            Fact::Looked(look) if fair(scene) => return self.judge(replica, look, scene),
            _ => {}
        }
        Ok(())
    }
}

impl SharesAreTold {
    fn opened(&mut self, replica: usize, ticket: Ticket, endpoint: &EndpointId, at: Duration) {
        self.tickets.insert((replica, ticket), endpoint.clone());
        for of in [Some(endpoint.clone()), None] {
            let counts = self.open.entry((replica, of)).or_default();
            counts.become_(counts.now + 1, at);
        }
    }

    fn closed(&mut self, replica: usize, ticket: Ticket, at: Duration) {
        let Some(endpoint) = self.tickets.remove(&(replica, ticket)) else { return };
        for of in [Some(endpoint), None] {
            if let Some(counts) = self.open.get_mut(&(replica, of)) {
                counts.become_(counts.now.saturating_sub(1), at);
            }
        }
    }

    /// The endpoint left the owner's pool: its requests there are open still, and no longer count as work on any endpoint.
    fn left(&mut self, replica: usize, endpoint: &EndpointId, at: Duration) {
        let there = |((owner, ticket), on): (&(usize, Ticket), &EndpointId)| {
            (*owner == replica && on == endpoint).then_some(*ticket)
        };
        let tickets: Vec<Ticket> = self.tickets.iter().filter_map(there).collect();
        tickets.into_iter().for_each(|ticket| self.closed(replica, ticket, at));
    }

    fn gone(&mut self, replica: usize) {
        self.tickets.retain(|(owner, _), _| *owner != replica);
        self.open.retain(|(owner, _), _| *owner != replica);
    }

    fn judge(&self, replica: usize, look: &Look, scene: &Scene) -> Result<(), Broken> {
        let since = scene.now().saturating_sub(if scene.plan().town.peer_streams { BY_STREAMS } else { BY_GOSSIP });
        for owner in scene.living().filter(|owner| *owner != replica) {
            let peer = look.fleet.peers.iter().find(|peer| names::replica(&peer.replica) == Some(owner));
            let believed = peer.map_or(0, |peer| u64::from(peer.in_flight.requests));
            let (least, most) = self.open.get(&(owner, None)).map_or((0, 0), |counts| counts.within(since));
            if !(least..=most).contains(&believed) {
                return broken!(
                    "replica-{replica} believes {believed} requests of replica-{owner} open, which had {least} to {most} since {since:?}"
                );
            }
        }
        for endpoint in &look.fleet.endpoints {
            let id = Some(endpoint.endpoint.id.clone());
            let others = scene.living().filter(|owner| *owner != replica);
            let counts = others.filter_map(|owner| self.open.get(&(owner, id.clone())));
            let bounds = counts.map(|counts| counts.within(since));
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
    fn become_(&mut self, count: u64, at: Duration) {
        self.before.push_back((at, self.now));
        self.now = count;
        let old = at.saturating_sub(BY_GOSSIP);
        while self.before.front().is_some_and(|(until, _)| *until < old) {
            self.before.pop_front();
        }
    }

    /// The least and the most that it was since this moment.
    fn within(&self, since: Duration) -> (u64, u64) {
        let before = self.before.iter().filter(|(until, _)| *until >= since).map(|(_, count)| *count);
        before.fold((self.now, self.now), |(least, most), count| (least.min(count), most.max(count)))
    }
}

/// Whether words can't have been late or lost, nobody was away, and endpoints did not come and go, for a while.
fn fair(scene: &Scene) -> bool {
    let all_awake = (0..scene.plan().town.replicas).all(|replica| scene.awake_for(replica, FAIR));
    let begun = (Phase::Storm..=Phase::Rest).contains(&scene.phase());
    begun && all_awake && !scene.talk_struck(FAIR) && !scene.feels(FAIR, Fault::changes_endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, closed, decided, engine, open, well};

    /// Replica 0 has two requests open on engine 1 from 8 s on, and one from 9 s on; replica 1 looks and believes so many.
    fn tale(believed: u32, looks_at: u64) -> Tale {
        let mut tale = Tale::calm();
        tale.at(8_000).told(0, decided(1, 1));
        tale.told(0, decided(2, 1));
        tale.at(9_000).told(0, closed(1));
        let mut look = well(1);
        look.fleet.peers[0].in_flight = open(believed);
        look.fleet.endpoints[1].foreign = open(believed);
        tale.at(looks_at).look(1, look);
        tale
    }

    #[test]
    fn what_its_owner_had_a_moment_ago_may_be_believed() {
        for (believed, at) in [(1, 9_000), (2, 9_000), (2, 9_250), (1, 20_000)] {
            assert_eq!(tale(believed, at).judged(SharesAreTold::default()), Ok(()), "{believed} at {at}");
        }
        tale(2, 9_251).breaks(SharesAreTold::default(), "2 requests of replica-0 open, which had 1 to 1");
        tale(3, 9_000).breaks(SharesAreTold::default(), "3 requests of replica-0 open, which had 1 to 2");
    }

    /// Seed 1660414122 at fd5bede: discovery forgot all endpoints while requests were open.
    #[test]
    fn what_was_open_on_an_endpoint_that_left_is_no_work_of_its_owner() {
        let mut tale = Tale::calm();
        tale.at(8_000).told(0, decided(1, 1));
        tale.told(0, decided(2, 2));
        tale.at(9_000).told(0, Event::EndpointLeft(engine(1)));
        let mut look = well(1);
        look.fleet.peers[0].in_flight = open(1);
        look.fleet.endpoints[2].foreign = open(1);
        tale.at(20_000).look(1, look);
        assert_eq!(tale.judged(SharesAreTold::default()), Ok(()));
    }

    #[test]
    fn whoever_tells_nothing_is_found_out() {
        tale(0, 9_100).breaks(SharesAreTold::default(), "0 requests of replica-0 open, which had 1 to 2");
        let mut tale = tale(1, 20_000);
        let mut look = well(2);
        look.fleet.peers[0].in_flight = open(1);
        tale.look(2, look);
        tale.breaks(SharesAreTold::default(), "0 requests of peers open on town/engine-1");
    }

    #[test]
    fn where_words_may_be_late_nothing_is_judged() {
        use crate::plan::Place;
        let lossy = Fault::Loss { from: Place::Replicas, to: Place::Replicas, share: 0.2 };
        let mut tale = tale(0, 9_100);
        let mut stormy = Tale::with(vec![lossy]);
        stormy.at(7_000).world(Fact::Struck(0));
        stormy.entries.extend(tale.entries.drain(4..));
        assert_eq!(stormy.judged(SharesAreTold::default()), Ok(()));
    }
}
