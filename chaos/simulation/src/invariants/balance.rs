//! `books_balance`.
//!
//! Must not know why a ticket is closed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::Ticket;
use murmuration::scheduler::FleetSummary;

use super::{About, Broken, Invariant, Scene, broken, names, scheduler_restarted};
use crate::history::{Entry, Fact, Source};

/// How long after the last answer ended a ticket may be open: until the reports of engines show that the request is
/// over.
const SETTLING: Duration = Duration::from_secs(2);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct BooksBalance {
    open: BTreeMap<(usize, u32), BTreeSet<Ticket>>,
}

// === impl BooksBalance ===

impl Invariant for BooksBalance {
    fn about(&self) -> About {
        About::safety(
            "books_balance",
            "reserved = closed + expired + open, no more requests are in flight than tickets are open, no ticket closes twice, and none is open 2 s after the last request",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        let Source::Replica(replica, start) = entry.by else { return Ok(()) };
        let open = self.open.entry((replica, start)).or_default();
        match &entry.fact {
            Fact::Emitted(Event::Decided(decided)) if !open.insert(decided.ticket) => {
                broken!("replica-{replica} reserved for {} twice", decided.ticket)
            }
            Fact::Emitted(Event::TicketClosed { ticket, .. }) if !open.remove(ticket) => {
                broken!("replica-{replica} closed {ticket}, which was not open")
            }
            // A restarted scheduler has no tickets; later events of older tickets are legal and change nothing.
            fact if scheduler_restarted(fact) => {
                open.clear();
                Ok(())
            }
            Fact::SnapshotTaken(snapshot) => sums(replica, &snapshot.fleet, scene),
            _ => Ok(()),
        }
    }
}

fn sums(replica: usize, fleet: &FleetSummary, scene: &Scene) -> Result<(), Broken> {
    let tickets = fleet.tickets;
    if tickets.reserved != tickets.closed + tickets.expired + tickets.open {
        return broken!("replica-{replica} has tickets that do not add up: {tickets:?}");
    }
    // A pair has one share of each stage.
    for prefills in [false, true] {
        let of_stage = fleet.endpoints.iter().filter(|one| {
            names::engine(&one.endpoint.id).is_some_and(|engine| scene.plan().cluster.prefills(engine)) == prefills
        });
        let in_flight: u64 = of_stage.map(|endpoint| u64::from(endpoint.in_flight.requests)).sum();
        if in_flight > tickets.open {
            return broken!("replica-{replica} has {in_flight} requests in flight for {} open tickets", tickets.open);
        }
    }
    if scene.rests(SETTLING) && tickets.open > 0 {
        return broken!("replica-{replica} has {} open tickets after the last request", tickets.open);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use murmuration::scheduler::Balance;

    use super::*;
    use crate::history::Phase;
    use crate::invariants::testing::{HistoryBuilder, closed, decided, open};

    fn with_snapshot(at: u64, tickets: Balance, in_flight: u32) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.phase(10_000, Phase::Quiesced);
        history.at(at).sees(0, |snapshot| {
            snapshot.fleet.tickets = tickets;
            snapshot.fleet.endpoints[1].in_flight = open(in_flight);
        });
        history
    }

    #[test]
    fn tickets_must_add_up_in_every_snapshot() {
        let right = Balance { reserved: 4, closed: 2, expired: 1, open: 1 };
        assert_eq!(with_snapshot(10_000, right, 1).check(BooksBalance::default()), Ok(()));
        with_snapshot(10_000, Balance { closed: 1, ..right }, 1).breaks(BooksBalance::default(), "do not add up");
        with_snapshot(10_000, right, 2).breaks(BooksBalance::default(), "2 requests in flight for 1 open");
    }

    #[test]
    fn after_the_last_request_no_ticket_is_open() {
        let left = Balance { reserved: 1, closed: 0, expired: 0, open: 1 };
        assert_eq!(with_snapshot(11_999, left, 1).check(BooksBalance::default()), Ok(()));
        with_snapshot(12_000, left, 0).breaks(BooksBalance::default(), "has 1 open tickets");
    }

    #[test]
    fn a_ticket_closes_once() {
        let mut history = HistoryBuilder::calm();
        history.told(0, decided(1, 0));
        history.told(0, closed(1));
        assert_eq!(history.check(BooksBalance::default()), Ok(()));
        history.told(0, closed(1));
        history.breaks(BooksBalance::default(), "closed t1, which was not open");
    }
}
