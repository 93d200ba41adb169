//! The scheduler actor: each arm translates one message, runs the scheduler, and delivers its output.
//!
//! Must not know scheduling rules. Requests have priority: the actor decides one before each message, and between the
//! slices of work that takes longer than some microseconds. They do not have it all: however many requests wait, each
//! round decides a few and then handles the messages that arrived in the meantime.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::ConfigErrors;
use murmuration::fleet::{Endpoint, Observation};
use murmuration::id::{EndpointId, Ticket};
use murmuration::replication::keepers::SUCCESSOR_WAIT_MIN;
use murmuration::replication::{Batch, Record};
use murmuration::request::{Asked, InferenceRequest};
use murmuration::schedule::Profiles;
use murmuration::scheduler::{
    BeliefDigest, FleetSummary, HistoryWalk, Input, Outbox, SLICE, Scheduler, SchedulerSettings, Walk,
};
use murmuration::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::announced::{Known, changes};
use super::message::{Answer, Message, Report};
use super::stream_queue::{FromStream, StreamQueue};
use super::{Reservation, SchedulerHandle, TicketOwner};
use crate::clock::Clock;
use crate::latest_value::Notice;
use crate::replication::{Keeping, Publisher};
use crate::telemetry::Telemetry;

/// How often leases and trust states are checked.
const TICK: Duration = Duration::from_millis(100);
/// Requests decided before the messages that wait.
const ASKS_AT_ONCE: usize = 16;
/// Requests decided before each message, and between two slices of long work.
const ASKS_BETWEEN: usize = 1;
/// Updates of tickets that count as much as a request. Most are that much less work.
const UPDATES_PER_ASK: usize = 16;

/// A request is kept back in a crowd for this part of the time that it may wait for its decision, at most.
const KEPT_BACK_PART: u32 = 4;

/// The actor; all of its state is in `SchedulerState`.
#[derive(Debug)]
pub struct SchedulerActor;

/// Builds a scheduler's parts for each start: plugins are not shared between starts.
pub type Build = Arc<dyn Fn() -> Result<(Profiles, SchedulerSettings), ConfigErrors> + Send + Sync>;

/// Wakes the actor after a while, to look into the queue.
type WakeAfter = Box<dyn Fn(Duration) + Send + Sync>;

/// The arguments of one scheduler start; the pool keeps them for the next start.
#[derive(Clone)]
pub struct SchedulerArguments {
    /// Builds the scheduler's parts.
    pub build: Build,
    /// The replica's clock.
    pub clock: Clock,
    /// Records events.
    pub telemetry: Telemetry,
    /// Holds the queue of what streams send; reservations send their updates by it.
    pub handle: SchedulerHandle,
    /// The last announcement of discovery.
    pub announced: Known,
    /// Publishes facts to peers; `None` without replication.
    pub publisher: Option<Publisher>,
    /// Receives the endpoints without recent reports.
    pub keeping: Option<Keeping>,
    /// The first ticket of this start; starts never share tickets.
    pub first_ticket: u64,
}

/// The scheduler, and the callers that wait for its answers.
pub struct SchedulerState {
    scheduler: Scheduler,
    wake_after: WakeAfter,
    outbox: Outbox,
    queue: StreamQueue,
    timeout: Duration,
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    announced: Known,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    clock: Clock,
    telemetry: Telemetry,
    owner: Arc<dyn TicketOwner>,
    publisher: Option<Publisher>,
    keeping: Option<Keeping>,
    /// Units of other work since the last check for requests, and the maximum so far.
    #[cfg(test)]
    work: (usize, usize),
}

impl Actor for SchedulerActor {
    type Msg = Message;
    type State = SchedulerState;
    type Arguments = SchedulerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: SchedulerArguments,
    ) -> Result<SchedulerState, ActorProcessingErr> {
        let waked = myself.clone();
        let wake_after = move |wait| drop(waked.send_after(wait, || Message::FromStreams));
        let mut state = SchedulerState::new(arguments, Box::new(wake_after))?;
        // Before any request is decided: requests that waited for this start must see the whole pool.
        state.take_announced();
        myself.send_after(TICK, || Message::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        state: &mut SchedulerState,
    ) -> Result<(), ActorProcessingErr> {
        if !matches!(message, Message::FromStreams) {
            state.serve_streams(ASKS_BETWEEN, StreamQueue::pop);
        }
        match message {
            Message::FromStreams => {
                if !state.serve_streams(ASKS_AT_ONCE, StreamQueue::pop_or_rest) {
                    myself.cast(Message::FromStreams)?;
                }
            }
            Message::Collect(endpoint, notice) => state.collect(endpoint, notice),
            Message::Announced => state.take_announced(),
            Message::Batch(batch, taken) => {
                state.receive(*batch).await;
                drop(taken.send(()));
            }
            Message::PeerLost(replica, incarnation) => state.handle(Input::PeerLost(replica, incarnation)),
            Message::History(most, reply) => drop(reply.send(state.history(most).await)),
            Message::Tick => {
                state.handle(Input::Tick);
                if let Some(keeping) = &state.keeping {
                    keeping.set_silent(state.scheduler.silent(SUCCESSOR_WAIT_MIN, state.clock.now()));
                }
                myself.send_after(TICK, || Message::Tick);
            }
            Message::Consider(request, reply) => drop(reply.send(state.scheduler.decide(&request, state.clock.now()))),
            Message::Digest(reply) => drop(reply.send(state.digest().await)),
            Message::Summary(reply) => drop(reply.send(state.summary().await)),
            Message::Explain(id, reply) => drop(reply.send(state.scheduler.recent().find(&id).cloned())),
            Message::Recent(most, reply) => {
                drop(reply.send(state.scheduler.recent().iter().take(most).cloned().collect()));
            }
        }
        Ok(())
    }
}

// === impl SchedulerState ===

impl SchedulerState {
    fn new(arguments: SchedulerArguments, wake_after: WakeAfter) -> Result<Self, ConfigErrors> {
        let (profiles, settings) = (arguments.build)()?;
        if let Some(publisher) = &arguments.publisher {
            publisher.withdraw_all();
        }
        Ok(Self {
            scheduler: Scheduler::new(profiles, settings),
            wake_after,
            outbox: Outbox::default(),
            queue: arguments.handle.queue(),
            timeout: arguments.handle.timeout(),
            waiting: BTreeMap::new(),
            next_ticket: arguments.first_ticket,
            announced: arguments.announced,
            endpoints: BTreeMap::new(),
            clock: arguments.clock,
            telemetry: arguments.telemetry,
            owner: Arc::new(arguments.handle),
            publisher: arguments.publisher,
            keeping: arguments.keeping,
            #[cfg(test)]
            work: (0, 0),
        })
    }

    /// Takes in what streams sent, as much as `asks` requests; `false` when more may wait.
    fn serve_streams(&mut self, asks: usize, pop: fn(&StreamQueue) -> Option<FromStream>) -> bool {
        #[cfg(test)]
        {
            self.work = (0, self.work.1.max(self.work.0));
        }
        // Requests overtake the `Announced` message, and the replica counts as ready once that message was sent.
        if self.announced.has_changed().unwrap_or(false) {
            self.take_announced();
        }
        self.queue.release(self.clock.now());
        let mut room = asks * UPDATES_PER_ASK;
        while room > 0 {
            let input = match pop(&self.queue) {
                None => return true,
                Some(FromStream::Update(ticket, news)) => {
                    room -= 1;
                    Input::TicketUpdate(ticket, news)
                }
                Some(FromStream::Ask(request, reply, waited)) => {
                    room = room.saturating_sub(UPDATES_PER_ASK);
                    let wait = self.wait_in_crowd(&request, waited);
                    if !wait.is_zero() {
                        self.queue.keep_back(FromStream::Ask(request, reply, wait), self.clock.now() + wait);
                        (self.wake_after)(wait);
                        continue;
                    }
                    let ticket = Ticket(self.next_ticket);
                    self.next_ticket += 1;
                    self.waiting.insert(ticket, reply);
                    Input::Asked(Asked { ticket, request, waited })
                }
            };
            self.scheduler.handle(input, self.clock.now(), &mut self.outbox);
            self.deliver();
        }
        false
    }

    /// How long a request is kept back, once, and for a part of its patience.
    fn wait_in_crowd(&self, request: &InferenceRequest, waited: Duration) -> Duration {
        if !waited.is_zero() {
            return Duration::ZERO;
        }
        self.scheduler.wait_in_crowd(request, self.clock.now()).min(self.timeout / KEPT_BACK_PART)
    }

    /// Runs between two slices of long work, so that a request waits for one of them at most.
    async fn pause(&mut self) {
        yield_now().await;
        self.serve_streams(ASKS_BETWEEN, StreamQueue::pop);
    }

    /// Counts units of work, so that a test can measure how much of it a request waits for.
    fn worked(&mut self, _units: usize) {
        #[cfg(test)]
        {
            self.work.0 += _units;
        }
    }

    fn collect(&mut self, endpoint: EndpointId, notice: Notice<(Report, Timestamp)>) {
        let Some((report, made)) = notice.take() else { return };
        let waited = self.clock.now().since(made);
        self.handle(match report {
            Report::Load(Observation { report, age }) => {
                Input::Observed(endpoint, Observation { report, age: age + waited })
            }
            Report::Unreachable => Input::Unreachable(endpoint),
        });
    }

    fn take_announced(&mut self) {
        let Some(announced) = self.announced.borrow_and_update().clone() else { return };
        self.handle(Input::Objectives(announced.objectives.clone()));
        let changes = changes(&mut self.endpoints, &announced.endpoints);
        self.handle(Input::Discovered(changes));
    }

    async fn receive(&mut self, batch: Batch) {
        let now = self.clock.now();
        let mut remaining = self.scheduler.receive(batch, now, &mut self.outbox);
        while self.scheduler.take_in_some(&mut remaining, SLICE, now, &mut self.outbox) {
            self.deliver();
            self.worked(SLICE);
            self.pause().await;
        }
        self.deliver();
        self.worked(SLICE);
    }

    async fn history(&mut self, most: usize) -> Vec<(Record, Duration)> {
        let (now, mut walk, mut history) = (self.clock.now(), HistoryWalk::new(most), Vec::new());
        while self.scheduler.history_some(&mut walk, &mut history, now) {
            self.worked(SLICE);
            self.pause().await;
        }
        history
    }

    async fn digest(&mut self) -> BeliefDigest {
        let (mut walk, mut digest) = (Walk::default(), BeliefDigest::default());
        while self.scheduler.digest_some(&mut walk, &mut digest) {
            self.worked(SLICE);
            self.pause().await;
        }
        digest
    }

    async fn summary(&mut self) -> FleetSummary {
        let (now, mut walk, mut endpoints) = (self.clock.now(), Walk::default(), Vec::new());
        while self.scheduler.summary_some(&mut walk, &mut endpoints, now) {
            self.worked(SLICE);
            self.pause().await;
        }
        self.scheduler.summary_of(endpoints, now)
    }

    fn handle(&mut self, input: Input) {
        self.scheduler.handle(input, self.clock.now(), &mut self.outbox);
        self.deliver();
        self.worked(1);
    }

    fn deliver(&mut self) {
        for (ticket, answer) in self.outbox.answers.drain(..) {
            let Some(reply) = self.waiting.remove(&ticket) else { continue };
            // The reservation is made before the answer is sent: if the caller is gone, dropping it closes the ticket.
            let answer = answer.map(|decision| (Reservation::new(ticket, self.owner.clone()), decision));
            drop(reply.send(answer));
        }
        if let Some(publisher) = self.publisher.as_ref().filter(|_| !self.outbox.publish.is_empty()) {
            publisher.publish(self.outbox.publish.drain(..));
        }
        for event in self.outbox.events.drain(..) {
            self.telemetry.record(&event);
        }
    }
}

impl std::fmt::Debug for SchedulerArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerArguments").field("first_ticket", &self.first_ticket).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for SchedulerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SchedulerState").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "actor_tests.rs"]
mod tests;
