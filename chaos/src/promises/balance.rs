//! `books_balance`.
//!
//! Must not know why a ticket is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::Ticket;
use murmuration::scheduler::FleetSummary;

use super::{Broken, Promise, Scene, broken, scheduler_restarted};
use crate::chronicle::{Entry, Fact, Witness};

/// How long after the end of the last answer a ticket may be open: engines' reports must have shown that it is over.
const SETTLING: Duration = Duration::from_secs(2);

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct BooksBalance {
    open: BTreeMap<(usize, u32), BTreeSet<Ticket>>,
}

// === impl BooksBalance ===

impl Promise for BooksBalance {
    fn name(&self) -> &'static str {
        "books_balance"
    }

    fn meaning(&self) -> &'static str {
        "reserved = closed + expired + open, endpoints have no more in flight than tickets are open, no ticket closes twice; none is open at rest"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Witness::Replica(replica, life) = entry.by else { return Ok(()) };
        let open = self.open.entry((replica, life)).or_default();
        match &entry.fact {
            Fact::Told(Event::Decided(decided)) if !open.insert(decided.ticket) => {
                broken!("replica-{replica} reserved for {} twice", decided.ticket)
            }
            Fact::Told(Event::TicketClosed { ticket, .. }) if !open.remove(ticket) => {
                broken!("replica-{replica} closed {ticket}, which was not open")
            }
            // A mind that was born again has an empty book; news of older tickets are legal and change nothing.
            fact if scheduler_restarted(fact) => {
                open.clear();
                Ok(())
            }
            Fact::Looked(look) => sums(replica, &look.fleet, scene),
            _ => Ok(()),
        }
    }
}

fn sums(replica: usize, fleet: &FleetSummary, scene: &Scene) -> Result<(), Broken> {
    let tickets = fleet.tickets;
    if tickets.reserved != tickets.closed + tickets.expired + tickets.open {
        return broken!("replica-{replica} has lost count: {tickets:?}");
    }
    let in_flight: u64 = fleet.endpoints.iter().map(|endpoint| u64::from(endpoint.in_flight.requests)).sum();
    if in_flight > tickets.open {
        return broken!("replica-{replica} has {in_flight} requests in flight for {} open tickets", tickets.open);
    }
    if scene.rests(SETTLING) && tickets.open > 0 {
        return broken!("replica-{replica} is at rest with {} open tickets", tickets.open);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use murmuration::scheduler::Balance;

    use super::*;
    use crate::chronicle::Phase;
    use crate::promises::testing::{Tale, closed, decided, open, well};

    fn looked(at: u64, tickets: Balance, in_flight: u32) -> Tale {
        let mut tale = Tale::calm();
        tale.phase(10_000, Phase::Rest);
        let mut look = well(0);
        look.fleet.tickets = tickets;
        look.fleet.endpoints[1].in_flight = open(in_flight);
        tale.at(at).look(0, look);
        tale
    }

    #[test]
    fn sums_must_agree_at_every_look() {
        let right = Balance { reserved: 4, closed: 2, expired: 1, open: 1 };
        assert_eq!(looked(10_000, right, 1).judged(BooksBalance::default()), Ok(()));
        looked(10_000, Balance { closed: 1, ..right }, 1).breaks(BooksBalance::default(), "lost count");
        looked(10_000, right, 2).breaks(BooksBalance::default(), "2 requests in flight for 1 open");
    }

    #[test]
    fn at_rest_all_books_are_closed() {
        let left = Balance { reserved: 1, closed: 0, expired: 0, open: 1 };
        assert_eq!(looked(11_999, left, 1).judged(BooksBalance::default()), Ok(()));
        looked(12_000, left, 0).breaks(BooksBalance::default(), "at rest with 1 open");
    }

    #[test]
    fn a_ticket_closes_once() {
        let mut tale = Tale::calm();
        tale.told(0, decided(1, 0));
        tale.told(0, closed(1));
        assert_eq!(tale.judged(BooksBalance::default()), Ok(()));
        tale.told(0, closed(1));
        tale.breaks(BooksBalance::default(), "closed t1, which was not open");
    }
}
