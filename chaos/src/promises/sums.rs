//! `shares_are_what_their_owners_have`.
//!
//! Must not know lanes. What a peer is believed to have open is a number that it had once, not a sum of changes.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{EndpointId, Ticket};

use super::{Broken, CLEANUP, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact, Look, Witness};
use crate::plan::Fault;

/// For how long the most that was open is remembered as recent, at least.
const RECENT: Duration = Duration::from_secs(2);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct SharesAreWhatTheirOwnersHave {
    tickets: BTreeMap<(usize, Ticket), EndpointId>,
    open: BTreeMap<(usize, EndpointId), Count>,
    turned: Duration,
}

/// What one replica has open on one endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    now: u64,
    /// The most since the last turn, and between the last two.
    recent: [u64; 2],
    /// The most ever.
    ever: u64,
}

// === impl SharesAreWhatTheirOwnersHave ===

impl Promise for SharesAreWhatTheirOwnersHave {
    fn name(&self) -> &'static str {
        "shares_are_what_their_owners_have"
    }

    fn meaning(&self) -> &'static str {
        "nobody believes that peers have more open on an endpoint than they had there at some time; of late, in fair weather"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if scene.now() >= self.turned + RECENT {
            self.turned = scene.now();
            self.open.values_mut().for_each(|count| count.recent = [count.now, count.recent[0]]);
        }
        let Witness::Replica(replica, _) = entry.by else { return Ok(()) };
        match &entry.fact {
            Fact::Told(Event::Decided(decided)) => self.opened(replica, decided.ticket, decided.endpoint.clone()),
            Fact::Told(Event::TicketClosed { ticket, .. }) => self.closed(replica, *ticket),
            Fact::Told(Event::ServedElsewhere { ticket, served: Some(endpoint), .. }) => {
                self.closed(replica, *ticket);
                self.opened(replica, *ticket, endpoint.clone());
            }
            Fact::Gone => self.gone(replica),
            Fact::Looked(look) => return self.judge(replica, look, scene),
            _ => {}
        }
        Ok(())
    }
}

impl SharesAreWhatTheirOwnersHave {
    fn opened(&mut self, replica: usize, ticket: Ticket, endpoint: EndpointId) {
        let count = self.open.entry((replica, endpoint.clone())).or_default();
        count.now += 1;
        count.recent[0] = count.recent[0].max(count.now);
        count.ever = count.ever.max(count.now);
        self.tickets.insert((replica, ticket), endpoint);
    }

    fn closed(&mut self, replica: usize, ticket: Ticket) {
        let Some(endpoint) = self.tickets.remove(&(replica, ticket)) else { return };
        if let Some(count) = self.open.get_mut(&(replica, endpoint)) {
            count.now = count.now.saturating_sub(1);
        }
    }

    fn gone(&mut self, replica: usize) {
        self.tickets.retain(|(owner, _), _| *owner != replica);
        self.open.iter_mut().filter(|((owner, _), _)| *owner == replica).for_each(|(_, count)| count.now = 0);
    }

    fn judge(&self, replica: usize, look: &Look, scene: &Scene) -> Result<(), Broken> {
        let fair = !rough(scene, CLEANUP + RECENT);
        let most = |count: &Count| if fair { count.recent[0].max(count.recent[1]) } else { count.ever };
        for peer in &look.fleet.peers {
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
        for endpoint in &look.fleet.endpoints {
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

/// Whether words may have been late or lost, or their owners away, within `span`.
fn rough(scene: &Scene, span: Duration) -> bool {
    let away = (0..scene.plan().town.replicas).any(|replica| !scene.awake_for(replica, span));
    away || scene.talk_struck(span) || scene.feels(span, Fault::changes_endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, closed, decided, open, well};

    /// Replica 0 has had two requests open on engine 1, and has one; replica 1 looks.
    fn tale(believed: u32, foreign: u32, looks_at: u64) -> Tale {
        let mut tale = Tale::calm();
        tale.at(8_000).told(0, decided(1, 1));
        tale.told(0, decided(2, 1));
        tale.told(0, closed(1));
        let mut look = well(1);
        look.fleet.peers[0].in_flight = open(believed);
        look.fleet.endpoints[1].foreign = open(foreign);
        for at in (8_500..looks_at).step_by(500) {
            tale.at(at).look(2, well(2));
        }
        tale.at(looks_at).look(1, look);
        tale
    }

    #[test]
    fn what_was_open_a_moment_ago_may_still_be_believed() {
        assert_eq!(tale(2, 2, 8_100).judged(SharesAreWhatTheirOwnersHave::default()), Ok(()));
        tale(3, 2, 8_100).breaks(SharesAreWhatTheirOwnersHave::default(), "3 requests of replica-0 open, which had 2");
        tale(2, 3, 8_100).breaks(SharesAreWhatTheirOwnersHave::default(), "3 requests of peers open on town/engine-1");
    }

    #[test]
    fn in_fair_weather_it_is_known_soon_that_they_are_over() {
        assert_eq!(tale(1, 1, 14_000).judged(SharesAreWhatTheirOwnersHave::default()), Ok(()));
        tale(2, 1, 14_000).breaks(SharesAreWhatTheirOwnersHave::default(), "which had 1 at most");
    }
}
