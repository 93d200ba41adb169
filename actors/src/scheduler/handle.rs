//! The scheduler as others see it: verbs, and no actor reference. It survives the actor's rebirth.
//!
//! Must not know what the scheduler does with a letter.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use murmuration::fleet::EndpointChange;
use murmuration::id::{EndpointId, Incarnation, ReplicaId, Ticket};
use murmuration::request::{InferenceRequest, Refusal, RefusalCode};
use murmuration::schedule::Decision;
use murmuration::scheduler::{BeliefDigest, FleetSummary, News};
use murmuration::share::{Batch, Record};
use ractor::{ActorRef, RpcReplyPort};
use tokio::sync::{oneshot, watch};

use super::message::Message;
use super::{Asking, Books, Report, Reservation, TicketNews};
use crate::courier::Letter;

/// How long the admin page waits for the scheduler.
const GLANCE_PATIENCE: Duration = Duration::from_secs(2);

/// Verbs of the scheduler. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SchedulerHandle {
    living: watch::Receiver<Option<ActorRef<Message>>>,
    patience: Duration,
}

/// The births of schedulers.
#[derive(Debug)]
pub struct Lives {
    living: watch::Receiver<Option<ActorRef<Message>>>,
}

// === impl Lives ===

impl Lives {
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
    pub fn unborn(patience: Duration) -> (watch::Sender<Option<ActorRef<Message>>>, Self) {
        let (sender, living) = watch::channel(None);
        (sender, Self { living, patience })
    }

    /// Announces endpoints.
    pub fn discovered(&self, changes: Vec<EndpointChange>) {
        self.post(Message::Discovered(changes));
    }

    /// Announces objectives.
    pub fn objectives(&self, objectives: BTreeMap<String, i32>) {
        self.post(Message::Objectives(objectives));
    }

    /// Posts a report.
    pub fn report(&self, endpoint: EndpointId, letter: Letter<Report>) {
        self.post(Message::Collect(endpoint, letter));
    }

    /// Hands over a peer's facts; `true` once they were taken in.
    pub async fn heard(&self, batch: Batch) -> bool {
        let batch = Box::new(batch);
        self.call(|reply| Message::Heard(batch, reply), GLANCE_PATIENCE).await.is_some()
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
    pub fn lives(&self) -> Lives {
        Lives { living: self.living.clone() }
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
        async move {
            let answer = self.call(|reply| Message::Ask(request, reply), self.patience).await;
            answer.unwrap_or_else(|| {
                let sentence = "the scheduler did not answer in time; try again";
                Err(Refusal::new(RefusalCode::PickerBusy, sentence))
            })
        }
    }
}

impl Books for SchedulerHandle {
    fn tell(&self, ticket: Ticket, news: TicketNews) {
        let news = match news {
            TicketNews::Served(address) => News::Served(address),
            TicketNews::FirstToken => News::FirstToken,
            TicketNews::Finished(outcome, _) => News::Finished(outcome),
        };
        self.post(Message::Told(ticket, news));
    }
}
