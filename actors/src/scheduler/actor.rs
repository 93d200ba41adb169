//! The actor itself: each arm translates a message, lets the state think, and delivers.
//!
//! Must not know rules of choice. Requests go before all else: they are looked for before each message, and between the
//! slices of work that takes longer than some microseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::ConfigErrors;
use murmuration::fleet::{Endpoint, Observation};
use murmuration::id::{EndpointId, Ticket};
use murmuration::replication::keepers::HEIR_WAITS;
use murmuration::replication::{Batch, Record};
use murmuration::request::Asked;
use murmuration::schedule::Profiles;
use murmuration::scheduler::{
    BeliefDigest, FleetSummary, HistoryWalk, Input, Outbox, SLICE, Scheduler, SchedulerSettings, Walk,
};
use murmuration::time::Timestamp;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::announced::{Known, changes};
use super::asks::{Asks, Waiting};
use super::message::{Answer, Message, Report};
use super::{Reservation, SchedulerHandle, TicketOwner};
use crate::clock::Clock;
use crate::latest_value::Notice;
use crate::replication::{Keeping, Publisher};
use crate::telemetry::Telemetry;

/// How often leases and trusts are looked at.
const TICK: Duration = Duration::from_millis(100);
/// Requests that are decided before something else is looked at: reports must come through while requests flood in.
const ASKS_AT_ONCE: usize = 64;

/// The actor; all of its state is in `SchedulerState`.
#[derive(Debug)]
pub struct SchedulerActor;

/// Builds a state's parts anew for each life: plugins are not shared between lives.
pub type Build = Arc<dyn Fn() -> Result<(Profiles, SchedulerSettings), ConfigErrors> + Send + Sync>;

/// What a scheduler is born with; kept by the pool for the next birth.
#[derive(Clone)]
pub struct SchedulerArguments {
    /// Builds the state's parts.
    pub build: Build,
    /// The replica's clock.
    pub clock: Clock,
    /// Where events are told.
    pub telemetry: Telemetry,
    /// The verbs that reservations tell their news by, and the requests that wait.
    pub handle: SchedulerHandle,
    /// What discovery announced.
    pub announced: Known,
    /// What peers are told through; `None` where nothing is shared.
    pub publisher: Option<Publisher>,
    /// Told of whom nothing is heard.
    pub keeping: Option<Keeping>,
    /// The first ticket of this life; lives never share tickets.
    pub first_ticket: u64,
}

/// The state: the state, and who waits for its answers.
pub struct SchedulerState {
    scheduler: Scheduler,
    outbox: Outbox,
    asks: Asks,
    waiting: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    announced: Known,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    clock: Clock,
    telemetry: Telemetry,
    owner: Arc<dyn TicketOwner>,
    publisher: Option<Publisher>,
    keeping: Option<Keeping>,
    /// Units of other work since requests were looked for last, and the most there ever were.
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
        let mut state = SchedulerState::new(arguments)?;
        // Before any request is decided: those that waited for this start must not meet a pool that is half known.
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
        let more_wait = !state.answer_asks();
        match message {
            Message::Asks if more_wait => myself.cast(Message::Asks)?,
            Message::Asks => {}
            Message::TicketUpdate(ticket, news) => state.handle(Input::TicketUpdate(ticket, news)),
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
                    keeping.set_silent(state.scheduler.silent(HEIR_WAITS, state.clock.now()));
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
    fn new(arguments: SchedulerArguments) -> Result<Self, ConfigErrors> {
        let (profiles, settings) = (arguments.build)()?;
        if let Some(publisher) = &arguments.publisher {
            publisher.withdraw_all();
        }
        Ok(Self {
            scheduler: Scheduler::new(profiles, settings),
            outbox: Outbox::default(),
            asks: arguments.handle.asks(),
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

    /// Decides the requests that wait, at most [`ASKS_AT_ONCE`]; `false` when more wait.
    fn answer_asks(&mut self) -> bool {
        #[cfg(test)]
        {
            self.work = (0, self.work.1.max(self.work.0));
        }
        // Requests overtake the word of it, and this replica counts as ready once the word was said.
        if self.announced.has_changed().unwrap_or(false) {
            self.take_announced();
        }
        for _ in 0..ASKS_AT_ONCE {
            let Some(Waiting { request, reply }) = self.asks.pop() else { return true };
            let ticket = Ticket(self.next_ticket);
            self.next_ticket += 1;
            self.waiting.insert(ticket, reply);
            let asked = Input::Asked(Asked { ticket, request: *request });
            self.scheduler.handle(asked, self.clock.now(), &mut self.outbox);
            self.deliver();
        }
        false
    }

    /// Between two slices of long work: requests that came meanwhile go first.
    async fn pause(&mut self) {
        yield_now().await;
        self.answer_asks();
    }

    /// Counts units of work, so that a test sees how much a request may wait for.
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
        let mut unheard = self.scheduler.receive(batch, now, &mut self.outbox);
        while self.scheduler.take_in_some(&mut unheard, SLICE, now, &mut self.outbox) {
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
            // Made before the answer leaves: when nobody listens any more, dropping it closes the ticket.
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
