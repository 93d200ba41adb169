//! The hold of one stream on its ticket: whatever happens to the stream, the ticket is closed exactly once.
//!
//! Must not know scheduling; it only carries news of a ticket to whoever keeps the owner.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use murmuration::id::Ticket;
use murmuration::request::{InferenceRequest, Outcome, Refusal, Usage};
use murmuration::schedule::Decision;

/// News of a ticket, from its stream to the owner.
#[derive(Clone, Debug, PartialEq)]
pub enum TicketUpdate {
    /// Envoy says which address served.
    Served(SocketAddr),
    /// The first token (or body byte) of the answer was seen.
    FirstToken,
    /// The stream is over.
    Finished(Outcome, Option<Usage>),
}

/// Who hears news of tickets.
pub trait TicketOwner: Send + Sync {
    /// Takes one piece of news; never blocks.
    fn tell(&self, ticket: Ticket, news: TicketUpdate);
}

/// Who answers a request. The scheduler actor's handle in production, a table in tests.
pub trait Asking: Clone + Send + Sync + 'static {
    /// Asks for endpoints; the reservation stands when the answer arrives.
    fn ask(
        &self,
        request: InferenceRequest,
    ) -> impl Future<Output = Result<(Reservation, Arc<Decision>), Refusal>> + Send;
}

/// An open ticket. Dropped without a word it says [`Outcome::Abandoned`].
pub struct Reservation {
    ticket: Ticket,
    owner: Option<Arc<dyn TicketOwner>>,
}

// === impl Reservation ===

impl Reservation {
    /// The hold on `ticket`, told to `owner`.
    pub fn new(ticket: Ticket, owner: Arc<dyn TicketOwner>) -> Self {
        Self { ticket, owner: Some(owner) }
    }

    /// Its ticket.
    pub fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Envoy told which address served.
    pub fn served(&self, address: SocketAddr) {
        self.tell(TicketUpdate::Served(address));
    }

    /// The answer's first token was seen.
    pub fn first_token(&self) {
        self.tell(TicketUpdate::FirstToken);
    }

    /// The stream is over.
    pub fn finish(mut self, outcome: Outcome, usage: Option<Usage>) {
        self.tell(TicketUpdate::Finished(outcome, usage));
        self.owner = None;
    }

    /// The replica leaves the response path on purpose: the ticket stays open until the engine's reports say that its
    /// request is done. Only for requests that were asked with `attended: false`.
    pub fn leave(mut self) {
        self.owner = None;
    }

    fn tell(&self, news: TicketUpdate) {
        if let Some(owner) = &self.owner {
            owner.tell(self.ticket, news);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.tell(TicketUpdate::Finished(Outcome::Abandoned, None));
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
    struct Heard(Mutex<Vec<TicketUpdate>>);

    impl TicketOwner for Heard {
        fn tell(&self, _: Ticket, news: TicketUpdate) {
            self.0.lock().unwrap().push(news);
        }
    }

    #[test]
    fn a_dropped_reservation_says_abandoned_and_a_finished_one_does_not() {
        let heard = Arc::new(Heard::default());
        drop(Reservation::new(Ticket(1), heard.clone()));
        assert_eq!(*heard.0.lock().unwrap(), [TicketUpdate::Finished(Outcome::Abandoned, None)]);
        Reservation::new(Ticket(2), heard.clone()).finish(Outcome::Completed, None);
        assert_eq!(heard.0.lock().unwrap().len(), 2);
        Reservation::new(Ticket(3), heard.clone()).leave();
        assert_eq!(heard.0.lock().unwrap().len(), 2);
    }
}
