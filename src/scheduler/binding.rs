//! Looks up and makes session bindings.
//!
//! Must not know how plugins use a binding.

use std::time::Duration;

use crate::id::{SessionKey, Slot, Ticket};
use crate::replication::{Binding, Record};
use crate::request::InferenceRequest;
use crate::scheduler::{Outbox, Scheduler};
use crate::time::Timestamp;

// === impl Scheduler: sessions ===

impl Scheduler {
    /// The slot of the endpoint that the request's session is bound to, while it is in the pool.
    pub(super) fn bound(&self, request: &InferenceRequest, now: Timestamp) -> Option<Slot> {
        self.fleet.named(self.sessions.find(request.session.id?, now)?)
    }

    /// Binds the session of `ticket` to the ticket's endpoint. Not before the first token: a failed or abandoned
    /// request says nothing about where its session's blocks are.
    pub(super) fn bind_session_of(&mut self, ticket: Ticket, now: Timestamp, out: &mut Outbox) {
        let Some(open) = self.ledger.get_mut(ticket) else { return };
        let (Some(session), Some(hold)) = (open.session, open.holds.first()) else { return };
        open.bound = true;
        let tenancy = hold.tenancy;
        if self.fleet.tenant_of(tenancy).is_some() {
            self.bind(session, tenancy.slot, now, out);
        }
    }

    /// Binds `session` to the endpoint in `slot`.
    fn bind(&mut self, session: SessionKey, slot: Slot, now: Timestamp, out: &mut Outbox) {
        let Some(endpoint) = self.fleet.get(slot).map(|entry| entry.endpoint.id.key()) else { return };
        if self.sessions.bind(session, endpoint, now) && self.settings.sharing {
            out.publish.push((Record::Bound(Binding { session, endpoint }), now));
        }
    }

    /// Takes in a binding that a peer made `age` ago.
    pub(super) fn receive_binding(&mut self, binding: Binding, age: Duration, now: Timestamp) {
        self.sessions.receive(binding.session, binding.endpoint, age, now);
    }
}
