//! A stream's guard over its ticket: however the stream ends, the ticket is closed exactly once.
//!
//! Must not know scheduling; it only passes ticket updates to the ticket's owner.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use murmuration::id::Ticket;
use murmuration::request::{InferenceRequest, Outcome, Refusal, Usage};
use murmuration::schedule::Decision;

/// An update of a ticket, from its stream to the ticket's owner.
#[derive(Clone, Debug, PartialEq)]
pub enum TicketUpdate {
    /// Envoy reported which address served the request.
    Served(SocketAddr),
    /// The first token (or body byte) of the response arrived.
    FirstToken,
    /// The stream ended.
    Finished(Outcome, Option<Usage>),
}

/// Receives ticket updates.
pub trait TicketOwner: Send + Sync {
    /// Takes one update; never blocks.
    fn update(&self, ticket: Ticket, update: TicketUpdate);
}

/// Decides requests: the scheduler actor's handle in production, a table in tests.
pub trait Decider: Clone + Send + Sync + 'static {
    /// Requests a decision; the reservation is already made when the answer arrives.
    fn ask(
        &self,
        request: InferenceRequest,
    ) -> impl Future<Output = Result<(Reservation, Arc<Decision>), Refusal>> + Send;
}

/// An open ticket. Dropped without [`Self::finish`] or [`Self::leave`], it reports [`Outcome::Abandoned`].
pub struct Reservation {
    ticket: Ticket,
    owner: Option<Arc<dyn TicketOwner>>,
}

// === impl Reservation ===

impl Reservation {
    /// A reservation of `ticket` that reports to `owner`.
    pub fn new(ticket: Ticket, owner: Arc<dyn TicketOwner>) -> Self {
        Self { ticket, owner: Some(owner) }
    }

    /// Its ticket.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Envoy reported which address served the request.
    pub fn served(&self, address: SocketAddr) {
        self.report(TicketUpdate::Served(address));
    }

    /// The first token of the response arrived.
    pub fn first_token(&self) {
        self.report(TicketUpdate::FirstToken);
    }

    /// The stream ended.
    pub fn finish(mut self, outcome: Outcome, usage: Option<Usage>) {
        self.report(TicketUpdate::Finished(outcome, usage));
        self.owner = None;
    }

    /// The replica leaves the response path on purpose: the ticket stays open until the engine's reports show that its
    /// request is done. Only for requests with `sees_response: false`.
    pub fn leave(mut self) {
        self.owner = None;
    }

    fn report(&self, update: TicketUpdate) {
        if let Some(owner) = &self.owner {
            owner.update(self.ticket, update);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.report(TicketUpdate::Finished(Outcome::Abandoned, None));
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Recorder(Mutex<Vec<TicketUpdate>>);

    impl TicketOwner for Recorder {
        fn update(&self, _: Ticket, update: TicketUpdate) {
            self.0.lock().unwrap().push(update);
        }
    }

    #[test]
    fn a_dropped_reservation_reports_abandoned_and_a_finished_one_does_not() {
        let recorder = Arc::new(Recorder::default());
        drop(Reservation::new(Ticket(1), recorder.clone()));
        assert_eq!(*recorder.0.lock().unwrap(), [TicketUpdate::Finished(Outcome::Abandoned, None)]);
        Reservation::new(Ticket(2), recorder.clone()).finish(Outcome::Completed, None);
        assert_eq!(recorder.0.lock().unwrap().len(), 2);
        Reservation::new(Ticket(3), recorder.clone()).leave();
        assert_eq!(recorder.0.lock().unwrap().len(), 2);
    }
}
