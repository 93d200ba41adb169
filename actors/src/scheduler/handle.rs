//! The interface to the scheduler: methods instead of an actor reference. It stays valid when the actor restarts.
//!
//! Must not know how the scheduler handles a message.

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

use super::message::Message;
use super::stream_queue::{FromStream, Queued, StreamQueue};
use super::{Decider, Report, Reservation, TicketOwner, TicketUpdate};
use crate::latest_value::Notice;

/// How long a call waits for the scheduler; decisions of requests have their own timeout.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A handle on the scheduler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SchedulerHandle {
    current: watch::Receiver<Option<ActorRef<Message>>>,
    queue: StreamQueue,
    timeout: Duration,
}

/// Notifies of each start of the scheduler.
#[derive(Debug)]
pub struct SchedulerStarts {
    current: watch::Receiver<Option<ActorRef<Message>>>,
}

// === impl SchedulerStarts ===

impl SchedulerStarts {
    /// Waits for the next start; `false` when there will be none.
    pub async fn next(&mut self) -> bool {
        loop {
            if self.current.changed().await.is_err() {
                return false;
            }
            if self.current.borrow_and_update().is_some() {
                return true;
            }
        }
    }
}

// === impl SchedulerHandle ===

impl SchedulerHandle {
    /// A handle on whichever actor the returned sender will name. Requests wait for a decision for `timeout` at most.
    pub fn unstarted(timeout: Duration) -> (watch::Sender<Option<ActorRef<Message>>>, Self) {
        let (sender, current) = watch::channel(None);
        (sender, Self { current, queue: StreamQueue::default(), timeout })
    }

    /// How long a request waits for its decision at most.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Notifies that the announced endpoints or objectives changed.
    pub fn announced(&self) {
        // A scheduler that starts later reads the announcement by itself.
        self.post(Message::Announced);
    }

    /// Notifies that a report can be collected.
    pub fn report(&self, endpoint: EndpointId, notice: Notice<(Report, Timestamp)>) {
        self.post(Message::Collect(endpoint, notice));
    }

    /// Hands over a peer's facts; `true` once they were applied.
    pub async fn received(&self, batch: Batch) -> bool {
        let batch = Box::new(batch);
        self.call(|reply| Message::Batch(batch, reply), CALL_TIMEOUT).await.is_some()
    }

    /// Placements of prefixes and session bindings, at most `most` of each, with their ages; empty when the scheduler
    /// doesn't answer.
    pub async fn history(&self, most: usize) -> Vec<(Record, Duration)> {
        self.call(|reply| Message::History(most, reply), CALL_TIMEOUT).await.unwrap_or_default()
    }

    /// Notifies that a peer is gone.
    pub fn peer_lost(&self, replica: ReplicaId, incarnation: Incarnation) {
        self.post(Message::PeerLost(replica, incarnation));
    }

    /// The scheduler's starts from now on; the latest earlier start counts too.
    pub fn starts(&self) -> SchedulerStarts {
        SchedulerStarts { current: self.current.clone() }
    }

    /// A summary of the pool; `None` when the scheduler doesn't answer.
    pub async fn summary(&self) -> Option<FleetSummary> {
        self.call(Message::Summary, CALL_TIMEOUT).await
    }

    /// The decision that `request` would get now, with nothing reserved; `None` when the scheduler doesn't answer.
    pub async fn consider(&self, request: InferenceRequest) -> Option<Result<Decision, Refusal>> {
        let request = Box::new(request);
        self.call(|reply| Message::Consider(request, reply), CALL_TIMEOUT).await
    }

    /// A digest of the scheduler's state; `None` when the scheduler doesn't answer.
    pub async fn digest(&self) -> Option<BeliefDigest> {
        self.call(Message::Digest, CALL_TIMEOUT).await
    }

    /// The decision for `request_id`, while it is kept.
    pub async fn explain(&self, request_id: String) -> Option<Arc<Decision>> {
        self.call(|reply| Message::Explain(request_id, reply), CALL_TIMEOUT).await.flatten()
    }

    /// The most recent decisions, newest first.
    pub async fn recent(&self, most: usize) -> Vec<Arc<Decision>> {
        self.call(|reply| Message::Recent(most, reply), CALL_TIMEOUT).await.unwrap_or_default()
    }

    /// The queue of what streams send.
    pub(super) fn queue(&self) -> StreamQueue {
        self.queue.clone()
    }

    fn post(&self, message: Message) -> bool {
        self.current.borrow().as_ref().is_some_and(|actor| actor.cast(message).is_ok())
    }

    async fn call<T>(&self, message: impl FnOnce(RpcReplyPort<T>) -> Message, timeout: Duration) -> Option<T>
    where
        T: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        if !self.post(message(sender.into())) {
            return None;
        }
        tokio::time::timeout(timeout, receiver).await.ok()?.ok()
    }
}

impl Decider for SchedulerHandle {
    fn ask(
        &self,
        request: InferenceRequest,
    ) -> impl Future<Output = Result<(Reservation, Arc<Decision>), Refusal>> + Send {
        let request = Box::new(request);
        let busy = |sentence: &str| Err(Refusal::new(RefusalCode::PickerBusy, sentence));
        async move {
            let (reply, answer) = oneshot::channel();
            match self.queue.push(FromStream::Ask(request, reply, Duration::ZERO)) {
                // While no scheduler runs, the request waits for the next one.
                Queued::Wake => drop(self.post(Message::FromStreams)),
                Queued::Quiet => {}
                Queued::Full => return busy("too many requests wait for a decision; try again"),
            }
            match tokio::time::timeout(self.timeout, answer).await {
                Ok(Ok(answer)) => answer,
                // Not retried: a request that made one scheduler fail may do so again.
                Ok(Err(_)) => busy("the scheduler failed while it decided this request; try again"),
                Err(_) => busy("the scheduler did not answer in time; try again"),
            }
        }
    }
}

impl TicketOwner for SchedulerHandle {
    fn update(&self, ticket: Ticket, update: TicketUpdate) {
        let news = match update {
            TicketUpdate::Served(address) => News::Served(address),
            TicketUpdate::FirstToken => News::FirstToken,
            TicketUpdate::Finished(outcome, _) => News::Finished(outcome),
        };
        if self.queue.push(FromStream::Update(ticket, news)) == Queued::Wake {
            self.post(Message::FromStreams);
        }
    }
}
