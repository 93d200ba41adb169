//! The scheduler as others see it: verbs, and no actor reference. It survives the actor's rebirth.
//!
//! Must not know what the scheduler does with a message.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::replication::{Batch, Record};
use murmuration::request::{InferenceRequest, Refusal, RefusalCode};
use murmuration::schedule::Decision;
use murmuration::scheduler::{BeliefDigest, FleetSummary, News};
use murmuration::time::Timestamp;
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::{oneshot, watch};

use super::asks::{Asks, Queued, Waiting};
use super::message::Message;
use super::{Asking, Report, Reservation, TicketOwner, TicketUpdate};
use crate::latest_value::Notice;

/// How long the admin page waits for the scheduler.
const GLANCE_PATIENCE: Duration = Duration::from_secs(2);

/// Verbs of the scheduler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SchedulerHandle {
    living: watch::Receiver<Option<ActorRef<Message>>>,
    asks: Asks,
    patience: Duration,
}

/// The births of schedulers.
#[derive(Debug)]
pub struct SchedulerStarts {
    living: watch::Receiver<Option<ActorRef<Message>>>,
}

// === impl SchedulerStarts ===

impl SchedulerStarts {
    /// Waits for the next birth; `false` when there will be none.
    pub async fn next(&mut self) -> bool {
        loop {
            if self.living.changed().await.is_err() {
                return false;
            }
            if self.living.borrow_and_update().is_some() {
                return true;
            }
        }
    }
}

// === impl SchedulerHandle ===

impl SchedulerHandle {
    /// A handle on whichever actor the sender will name; requests wait for its answer for `patience` at most.
    pub fn unstarted(patience: Duration) -> (watch::Sender<Option<ActorRef<Message>>>, Self) {
        let (sender, living) = watch::channel(None);
        (sender, Self { living, asks: Asks::default(), patience })
    }

    /// Says that endpoints or objectives were announced anew.
    pub fn announced(&self) {
        // A scheduler that starts later looks by itself.
        self.post(Message::Announced);
    }

    /// Says that a report can be collected.
    pub fn report(&self, endpoint: EndpointId, notice: Notice<(Report, Timestamp)>) {
        self.post(Message::Collect(endpoint, notice));
    }

    /// Hands over a peer's facts; `true` once they were taken in.
    pub async fn received(&self, batch: Batch) -> bool {
        let batch = Box::new(batch);
        self.call(|reply| Message::Batch(batch, reply), GLANCE_PATIENCE).await.is_some()
    }

    /// Where prefixes are believed to be, and sessions bound, at most `most` of each, and since when; nothing when the scheduler
    /// doesn't answer.
    pub async fn history(&self, most: usize) -> Vec<(Record, Duration)> {
        self.call(|reply| Message::History(most, reply), GLANCE_PATIENCE).await.unwrap_or_default()
    }

    /// Says that a peer is gone.
    pub fn peer_lost(&self, replica: ReplicaId, incarnation: Incarnation) {
        self.post(Message::PeerLost(replica, incarnation));
    }

    /// The scheduler's births from now on; the last one that is not looked at yet counts.
    pub fn lives(&self) -> SchedulerStarts {
        SchedulerStarts { living: self.living.clone() }
    }

    /// The pool at a glance; `None` when the scheduler doesn't answer.
    pub async fn summary(&self) -> Option<FleetSummary> {
        self.call(Message::Summary, GLANCE_PATIENCE).await
    }

    /// What `request` would be answered now, with nothing reserved; `None` when the scheduler doesn't answer.
    pub async fn consider(&self, request: InferenceRequest) -> Option<Result<Decision, Refusal>> {
        let request = Box::new(request);
        self.call(|reply| Message::Consider(request, reply), GLANCE_PATIENCE).await
    }

    /// What is believed, as numbers; `None` when the scheduler doesn't answer.
    pub async fn digest(&self) -> Option<BeliefDigest> {
        self.call(Message::Digest, GLANCE_PATIENCE).await
    }

    /// The decision for `request_id`, while it is remembered.
    pub async fn explain(&self, request_id: String) -> Option<Arc<Decision>> {
        self.call(|reply| Message::Explain(request_id, reply), GLANCE_PATIENCE).await.flatten()
    }

    /// The last decisions, youngest first.
    pub async fn recent(&self, most: usize) -> Vec<Arc<Decision>> {
        self.call(|reply| Message::Recent(most, reply), GLANCE_PATIENCE).await.unwrap_or_default()
    }

    /// The requests that wait.
    pub(super) fn asks(&self) -> Asks {
        self.asks.clone()
    }

    fn post(&self, message: Message) -> bool {
        self.living.borrow().as_ref().is_some_and(|actor| actor.cast(message).is_ok())
    }

    async fn call<T>(&self, message: impl FnOnce(RpcReplyPort<T>) -> Message, patience: Duration) -> Option<T>
    where
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        if !self.post(message(sender.into())) {
            return None;
        }
        tokio::time::timeout(patience, receiver).await.ok()?.ok()
    }
}

impl Asking for SchedulerHandle {
    fn ask(
        &self,
        request: InferenceRequest,
    ) -> impl Future<Output = Result<(Reservation, Arc<Decision>), Refusal>> + Send {
        let request = Box::new(request);
        let busy = |sentence: &str| Err(Refusal::new(RefusalCode::PickerBusy, sentence));
        async move {
            let (reply, answer) = oneshot::channel();
            match self.asks.push(Waiting { request, reply }) {
                // Without a scheduler it waits for the next one.
                Queued::Wake => drop(self.post(Message::Asks)),
                Queued::Quiet => {}
                Queued::Full => return busy("too many requests wait for a decision; try again"),
            }
            match tokio::time::timeout(self.patience, answer).await {
                Ok(Ok(answer)) => answer,
                // Not asked again: what failed one scheduler may fail the next.
                Ok(Err(_)) => busy("the scheduler failed while it decided this request; try again"),
                Err(_) => busy("the scheduler did not answer in time; try again"),
            }
        }
    }
}

impl TicketOwner for SchedulerHandle {
    fn tell(&self, ticket: Ticket, news: TicketUpdate) {
        let news = match news {
            TicketUpdate::Served(address) => News::Served(address),
            TicketUpdate::FirstToken => News::FirstToken,
            TicketUpdate::Finished(outcome, _) => News::Finished(outcome),
        };
        self.post(Message::TicketUpdate(ticket, news));
    }
}
