//! The ledger of open tickets: what each reserves, on which endpoint, and until when.
//!
//! Must not know HTTP, nor why an endpoint was chosen. Invariant: reserved = closed + expired + open.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::fleet::{InFlight, Tenancy};
use crate::id::{BlockHash, EndpointId, SessionKey, Ticket};
use crate::schedule::Stage;
use crate::time::Timestamp;

/// What one open ticket holds.
#[derive(Debug)]
pub struct Open {
    /// One hold for each leg that goes on; the first is on the serving endpoint.
    pub holds: Vec<Hold>,
    /// When it was decided, or, of a detached ticket whose prompt was computed elsewhere, when that had ended.
    pub since: Timestamp,
    /// Whether the stream reports its end. If not, the ticket is detached.
    pub sees_response: bool,
    /// The prompt's anchors, kept until the first token shows that the engine has computed it.
    pub anchors: Vec<BlockHash>,
    /// The session to bind at the first token.
    pub session: Option<SessionKey>,
    /// Whether the session is bound already, and moves with the request.
    pub bound: bool,
    lease: Timestamp,
}

/// What a ticket holds of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What it does for the request.
    pub stage: Stage,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The tenancy of the endpoint's slot.
    pub tenancy: Tenancy,
    /// What is still counted as in flight there.
    pub share: InFlight,
    /// Prompt tokens that waited there at the dispatch, its own included; zero if its first token does not show when
    /// they were computed.
    pub waited_for: u64,
    /// Blocks of the prompt that the endpoint was believed to hold before.
    pub held_before: u32,
}

/// Sums over the ledger's lifetime. `reserved == closed + expired + open` always holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Balance {
    /// Tickets ever opened.
    pub reserved: u64,
    /// Tickets closed by news of their end.
    pub closed: u64,
    /// Tickets closed by their lease.
    pub expired: u64,
    /// Tickets open now.
    pub open: u64,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    open: BTreeMap<Ticket, Open>,
    leases: BTreeSet<(Timestamp, Ticket)>,
    lease: Duration,
    balance: Balance,
    /// Detached tickets by the tenancy whose reports they wait for, the longest waiting first.
    detached: BTreeMap<Tenancy, BTreeSet<(Timestamp, Ticket)>>,
}

// === impl Ledger ===

impl Ledger {
    /// An empty ledger whose tickets stay open for `lease` at most.
    pub fn new(lease: Duration) -> Self {
        Self {
            open: BTreeMap::new(),
            leases: BTreeSet::new(),
            lease,
            balance: Balance::default(),
            detached: BTreeMap::new(),
        }
    }

    /// Opens `ticket`. Returns `false` and changes nothing if it is open already.
    pub fn open(
        &mut self,
        ticket: Ticket,
        holds: Vec<Hold>,
        anchors: Vec<BlockHash>,
        sees_response: bool,
        now: Timestamp,
    ) -> bool {
        if self.open.contains_key(&ticket) {
            return false;
        }
        let lease = now + self.lease;
        self.leases.insert((lease, ticket));
        let open = Open { holds, since: now, sees_response, anchors, session: None, bound: false, lease };
        if let Some(tenancy) = open.waits_for_reports_of() {
            self.detached.entry(tenancy).or_default().insert((now, ticket));
        }
        self.open.insert(ticket, open);
        self.balance.reserved += 1;
        self.balance.open += 1;
        true
    }

    /// An open ticket. Change the holds of a detached one only with [`Ledger::move_first_hold`] and
    /// [`Ledger::end_stage`].
    pub fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Open> {
        self.open.get_mut(&ticket)
    }

    /// Moves the first hold of `ticket` to another endpoint.
    pub fn move_first_hold(&mut self, ticket: Ticket, endpoint: EndpointId, tenancy: Tenancy) {
        let Some(open) = self.open.get_mut(&ticket) else { return };
        let (before, key) = (open.waits_for_reports_of(), (open.since, ticket));
        let Some(hold) = open.holds.first_mut() else { return };
        (hold.endpoint, hold.tenancy, hold.waited_for) = (endpoint, tenancy, 0);
        if let (Some(before), Some(after)) = (before, open.waits_for_reports_of()) {
            self.remove_detached(before, key);
            self.detached.entry(after).or_default().insert(key);
        }
    }

    /// Ends the stage that a detached `ticket` waits for, if decoding follows: from `now` on it waits for that. Returns
    /// the holds that ended, none if it waits for its last stage. With the prompt, what the endpoint that decodes was to
    /// get ends too.
    pub fn end_stage(&mut self, ticket: Ticket, now: Timestamp) -> Vec<Hold> {
        let Some(open) = self.open.get_mut(&ticket) else { return Vec::new() };
        let (Some(before), true) = (open.waits_for_reports_of(), open.computes_prompt().is_some()) else {
            return Vec::new();
        };
        let key = (open.since, ticket);
        let (mut holds, mut ended): (Vec<Hold>, Vec<Hold>) =
            std::mem::take(&mut open.holds).into_iter().partition(|hold| hold.stage == Stage::Decode);
        for hold in &mut holds {
            let share = hold.share.take_prompt();
            if share != InFlight::default() {
                ended.push(Hold { share, ..hold.clone() });
            }
        }
        (open.holds, open.since) = (holds, now);
        let after = open.waits_for_reports_of();
        self.remove_detached(before, key);
        if let Some(after) = after {
            self.detached.entry(after).or_default().insert((now, ticket));
        }
        ended
    }

    /// The tenancies whose reports detached tickets wait for.
    pub fn waited_for(&self) -> impl Iterator<Item = Tenancy> + '_ {
        self.detached.keys().copied()
    }

    /// Detached tickets that wait for `tenancy` to compute their prompt.
    pub fn computing_prompt(&self, tenancy: Tenancy) -> Vec<Ticket> {
        let waiting = self.detached.get(&tenancy).into_iter().flatten().map(|&(_, ticket)| ticket);
        let computes = |ticket: &Ticket| self.open.get(ticket).is_some_and(|open| open.computes_prompt().is_some());
        waiting.filter(computes).collect()
    }

    /// Closes `ticket`; `None` when it is not open (news may come twice, or after a restart).
    pub fn close(&mut self, ticket: Ticket) -> Option<Open> {
        let open = self.take(ticket)?;
        self.balance.closed += 1;
        Some(open)
    }

    /// Closes one ticket whose lease is over, if there is any.
    pub fn expire(&mut self, now: Timestamp) -> Option<(Ticket, Open)> {
        let &(lease, ticket) = self.leases.first()?;
        if lease > now {
            return None;
        }
        let open = self.take(ticket)?;
        self.balance.expired += 1;
        Some((ticket, open))
    }

    /// When the next lease ends.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.leases.first().map(|&(lease, _)| lease)
    }

    /// Detached tickets that wait for reports of `tenancy` since before `before`, oldest first, except the youngest
    /// `spared` of them. The cost depends only on the tickets that wait since `before` and those returned.
    pub fn detached(&self, tenancy: Tenancy, before: Timestamp, spared: usize) -> Vec<Ticket> {
        let Some(order) = self.detached.get(&tenancy).filter(|order| order.len() > spared) else { return Vec::new() };
        let younger = order.iter().rev().take_while(|(since, _)| *since >= before).count();
        let over = (order.len() - younger).saturating_sub(spared);
        order.iter().take(over).map(|&(_, ticket)| ticket).collect()
    }

    /// The sums.
    pub fn balance(&self) -> Balance {
        self.balance
    }

    fn take(&mut self, ticket: Ticket) -> Option<Open> {
        let open = self.open.remove(&ticket)?;
        self.leases.remove(&(open.lease, ticket));
        self.balance.open -= 1;
        if let Some(tenancy) = open.waits_for_reports_of() {
            self.remove_detached(tenancy, (open.since, ticket));
        }
        Some(open)
    }

    fn remove_detached(&mut self, tenancy: Tenancy, key: (Timestamp, Ticket)) {
        if let Some(order) = self.detached.get_mut(&tenancy) {
            order.remove(&key);
            if order.is_empty() {
                self.detached.remove(&tenancy);
            }
        }
    }
}

// === impl Open ===

impl Open {
    /// The tenancy whose reports show when the ticket's current stage ends: while the prompt is computed elsewhere, the
    /// engine that decodes does not count the request. `None` if its stream reports the end.
    fn waits_for_reports_of(&self) -> Option<Tenancy> {
        let hold = self.computes_prompt().map_or_else(|| self.holds.first(), |at| self.holds.get(at));
        hold.filter(|_| !self.sees_response).map(|hold| hold.tenancy)
    }

    /// The hold on an endpoint that computes the prompt for the first one. Encoding is short, and is not waited for.
    fn computes_prompt(&self) -> Option<usize> {
        self.holds.iter().skip(1).position(|hold| hold.stage == Stage::Prefill).map(|at| at + 1)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
