//! How tickets end: by news from their stream, by their lease, or by what the engine's own reports imply.
//!
//! Must not know how a ticket was decided.

use std::net::SocketAddr;
use std::time::Duration;

use crate::event::Event;
use crate::fleet::{Entry, InFlight, Tenancy, Trust};
use crate::id::{BlockHash, Slot, Ticket};
use crate::prefix::anchors;
use crate::request::Outcome;
use crate::schedule::Stage;
use crate::scheduler::ledger::{Hold, Open};
use crate::scheduler::{News, Outbox, Scheduler};
use crate::time::Timestamp;

/// A detached request that is younger than this at the time of a report may not be in the engine's gauges yet, so the
/// report says nothing about it.
const INFER_AFTER: Duration = Duration::from_millis(500);

// === impl Scheduler: endings ===

impl Scheduler {
    /// Applies news of a ticket. News of a ticket that is not open is legal and changes nothing: it may come twice, or
    /// after a restart.
    pub(super) fn ticket_update(&mut self, ticket: Ticket, news: News, now: Timestamp, out: &mut Outbox) {
        match news {
            News::Served(address) => self.served(ticket, address, now, out),
            News::FirstToken => self.first_token(ticket, now, out),
            News::Finished(outcome) => {
                if let Some(open) = self.ledger.close(ticket) {
                    // The first hold is on the endpoint that the answer came from.
                    if let Some(hold) = open.holds.first() {
                        self.answered(hold.tenancy, outcome, now, out);
                    }
                    self.release(ticket, open, outcome, now, out);
                }
            }
        }
    }

    /// Envoy used another endpoint of the list: the load, the placement and a bound session move with the request.
    fn served(&mut self, ticket: Ticket, address: SocketAddr, now: Timestamp, out: &mut Outbox) {
        let served = self.fleet.at(address);
        let Some(open) = self.ledger.get_mut(ticket) else { return };
        let Some(hold) = open.holds.first_mut() else { return };
        if served == Some(hold.tenancy.slot) && self.fleet.tenant_of(hold.tenancy).is_some() {
            return;
        }
        let served_id = served.and_then(|slot| self.fleet.get(slot)).map(|entry| entry.endpoint.id.clone());
        out.events.push(Event::ServedElsewhere { ticket, decided: hold.endpoint.clone(), served: served_id.clone() });
        let (Some(slot), Some(endpoint)) = (served, served_id) else { return };

        self.fleet.release(hold.tenancy, hold.share);
        let left = hold.clone();
        let (anchors, bound) = (open.anchors.clone(), open.bound);
        if let Some(tenancy) = self.fleet.reserve(slot, left.share, now) {
            self.ledger.move_first_hold(ticket, endpoint, tenancy);
        }
        if bound {
            self.bind_session_of(ticket, now, out);
        }
        self.revoke_placement(&left, &anchors, now, out);
        self.dispatch(slot, &anchors, now, out);
        self.publish_in_flight_of(left.tenancy, now, out);
        self.publish_in_flight(slot, now, out);
    }

    /// The prompt is computed: its tokens are no longer in flight, its blocks are in the cache, and its session is
    /// bound to the endpoint. Endpoints that worked for the one that decodes are done.
    fn first_token(&mut self, ticket: Ticket, now: Timestamp, out: &mut Outbox) {
        // A detached ticket's stages end by reports.
        let Some(open) = self.ledger.get_mut(ticket).filter(|open| open.sees_response) else { return };
        open.anchors = Vec::new();
        let (mut released, took) = (Vec::with_capacity(1), now.since(open.since));
        open.holds.retain_mut(|hold| {
            if hold.share.prefills > 0 {
                self.fleet.first_token(hold.tenancy, hold.waited_for, took);
            }
            let is_over = hold.stage != Stage::Decode;
            let ended = if is_over { hold.share } else { hold.share.take_prompt() };
            if ended != InFlight::default() {
                self.fleet.release(hold.tenancy, ended);
                released.push(hold.tenancy);
            }
            !is_over
        });
        released.into_iter().for_each(|tenancy| self.publish_in_flight_of(tenancy, now, out));
        self.bind_session_of(ticket, now, out);
    }

    /// Ends the work of detached tickets beyond the `unfinished` requests of the engine's own report, oldest first.
    /// `unfinished` counts waiting and running requests from all replicas, so no more end than are done. On an endpoint
    /// that prefills and decodes, the oldest counts as done first. At worst a ticket stays open until its lease ends.
    pub(super) fn infer_ends(&mut self, slot: Slot, unfinished: u32, measured: Timestamp, out: &mut Outbox) {
        let Some(tenancy) = self.fleet.tenancy(slot) else { return };
        for ticket in self.ledger.detached(tenancy, measured - INFER_AFTER, unfinished as usize) {
            self.infer_end(ticket, measured, out);
        }
    }

    /// Ends the work of detached tickets on an endpoint that is gone: no report will ever show that it ended.
    pub(super) fn orphaned(&mut self, gone: Option<Tenancy>, now: Timestamp, out: &mut Outbox) {
        let Some(gone) = gone else { return };
        for ticket in self.ledger.detached(gone, now + Duration::from_micros(1), 0) {
            self.infer_end(ticket, now, out);
        }
    }

    /// The engine that the ticket waits for is done with it. If that computed the prompt for another one, the ticket
    /// waits for the other from now on, unless that is gone.
    fn infer_end(&mut self, ticket: Ticket, at: Timestamp, out: &mut Outbox) {
        let ended = self.ledger.end_stage(ticket, at);
        for hold in &ended {
            self.fleet.release(hold.tenancy, hold.share);
            self.publish_in_flight_of(hold.tenancy, at, out);
        }
        let next = self.ledger.get_mut(ticket).and_then(|open| open.holds.first().map(|hold| hold.tenancy));
        if !ended.is_empty() && next.is_some_and(|next| self.fleet.tenant_of(next).is_some()) {
            return;
        }
        if let Some(open) = self.ledger.close(ticket) {
            self.release(ticket, open, Outcome::Inferred, at, out);
        }
    }

    /// A prefill engine whose reports say nothing is not waited for: its tickets wait for the engine that decodes.
    pub(super) fn skip_silent_prefill(&mut self, now: Timestamp, out: &mut Outbox) {
        let tells = |tenancy: Tenancy| {
            let entry = self.fleet.tenant_of(tenancy).filter(|entry| entry.is_reachable());
            let entry = entry.filter(|entry| entry.trust(now) != Trust::Fallback);
            entry.and_then(Entry::report).is_some_and(|report| report.unfinished().is_some())
        };
        let silent: Vec<Tenancy> = self.ledger.waited_for().filter(|tenancy| !tells(*tenancy)).collect();
        for ticket in silent.into_iter().flat_map(|tenancy| self.ledger.computing_prompt(tenancy)).collect::<Vec<_>>() {
            self.infer_end(ticket, now, out);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp, out: &mut Outbox) {
        while let Some((ticket, open)) = self.ledger.expire(now) {
            self.release(ticket, open, Outcome::LeaseExpired, now, out);
        }
    }

    fn release(&mut self, ticket: Ticket, open: Open, outcome: Outcome, now: Timestamp, out: &mut Outbox) {
        for hold in &open.holds {
            self.fleet.release(hold.tenancy, hold.share);
            self.publish_in_flight_of(hold.tenancy, now, out);
            // Ended before its first token: the recorded placement was never computed.
            let unfinished = matches!(outcome, Outcome::Abandoned | Outcome::EngineError | Outcome::Rejected);
            if unfinished && hold.stage != Stage::Encode {
                self.revoke_placement(hold, &open.anchors, now, out);
            }
        }
        out.events.push(Event::TicketClosed { ticket, outcome });
    }

    /// Revokes a placement that was not computed.
    fn revoke_placement(&mut self, hold: &Hold, anchors: &[BlockHash], now: Timestamp, out: &mut Outbox) {
        if !anchors.is_empty() && self.fleet.tenant_of(hold.tenancy).is_some() {
            let by = self.own_number();
            let kept = self.revoke(hold.tenancy.slot, by, anchors, anchors::count(hold.held_before) as usize);
            self.publish_revocation(hold.tenancy.slot, anchors, kept, now, out);
        }
    }
}
