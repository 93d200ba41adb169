//! The actor itself: each arm translates a letter, lets the mind think, and delivers.
//!
//! Must not know rules of choice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::ConfigErrors;
use murmuration::id::Ticket;
use murmuration::request::{Asked, InferenceRequest};
use murmuration::schedule::Profiles;
use murmuration::scheduler::{Input, Outbox, Scheduler, SchedulerSettings};
use murmuration::share::keepers::HEIR_WAITS;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};

use super::message::{Answer, Message, Report};
use super::{Books, Reservation, SchedulerHandle};
use crate::clock::Clock;
use crate::flock::{Keeping, Voice};
use crate::telemetry::Telemetry;

/// How often leases and trusts are looked at.
const TICK: Duration = Duration::from_millis(100);

/// The actor; all of its state is in `Mind`.
#[derive(Debug)]
pub struct SchedulerActor;

/// Builds a mind's parts anew for each life: plugins are not shared between lives.
pub type Build = Arc<dyn Fn() -> Result<(Profiles, SchedulerSettings), ConfigErrors> + Send + Sync>;

/// What a scheduler is born with; kept by the pool for the next birth.
#[derive(Clone)]
pub struct SchedulerArguments {
    /// Builds the mind's parts.
    pub build: Build,
    /// The replica's clock.
    pub clock: Clock,
    /// Where events are told.
    pub telemetry: Telemetry,
    /// The verbs that reservations tell their news by.
    pub handle: SchedulerHandle,
    /// What peers are told through; `None` where nothing is shared.
    pub voice: Option<Voice>,
    /// Told of whom nothing is heard.
    pub keeping: Option<Keeping>,
    /// The first ticket of this life; lives never share tickets.
    pub first_ticket: u64,
}

/// The state: the mind, and who waits for its answers.
pub struct Mind {
    scheduler: Scheduler,
    outbox: Outbox,
    waiting: BTreeMap<Ticket, RpcReplyPort<Answer>>,
    next_ticket: u64,
    clock: Clock,
    telemetry: Telemetry,
    books: Arc<dyn Books>,
    voice: Option<Voice>,
    keeping: Option<Keeping>,
}

impl Actor for SchedulerActor {
    type Msg = Message;
    type State = Mind;
    type Arguments = SchedulerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Message>,
        arguments: SchedulerArguments,
    ) -> Result<Mind, ActorProcessingErr> {
        let (profiles, settings) = (arguments.build)()?;
        if let Some(voice) = &arguments.voice {
            voice.reborn();
        }
        myself.send_after(TICK, || Message::Tick);
        Ok(Mind {
            scheduler: Scheduler::new(profiles, settings),
            outbox: Outbox::default(),
            waiting: BTreeMap::new(),
            next_ticket: arguments.first_ticket,
            clock: arguments.clock,
            telemetry: arguments.telemetry,
            books: Arc::new(arguments.handle),
            voice: arguments.voice,
            keeping: arguments.keeping,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Message>,
        message: Message,
        mind: &mut Mind,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Message::Ask(request, reply) => mind.ask(*request, reply),
            Message::Told(ticket, news) => mind.handle(Input::Told(ticket, news)),
            Message::Collect(endpoint, letter) => match letter.open() {
                Some(Report::Load(observation)) => mind.handle(Input::Observed(endpoint, observation)),
                Some(Report::Unreachable) => mind.handle(Input::Unreachable(endpoint)),
                None => {}
            },
            Message::Discovered(changes) => mind.handle(Input::Discovered(changes)),
            Message::Objectives(objectives) => mind.handle(Input::Objectives(objectives)),
            Message::Heard(batch, taken) => {
                mind.handle(Input::Heard(batch));
                drop(taken.send(()));
            }
            Message::PeerLost(replica, incarnation) => mind.handle(Input::PeerLost(replica, incarnation)),
            Message::History(most, reply) => drop(reply.send(mind.scheduler.history(most, mind.clock.now()))),
            Message::Tick => {
                mind.handle(Input::Tick);
                if let Some(keeping) = &mind.keeping {
                    keeping.set_silent(mind.scheduler.silent(HEIR_WAITS, mind.clock.now()));
                }
                myself.send_after(TICK, || Message::Tick);
            }
            Message::Consider(request, reply) => drop(reply.send(mind.scheduler.decide(&request, mind.clock.now()))),
            Message::Digest(reply) => drop(reply.send(mind.scheduler.digest())),
            Message::Summary(reply) => drop(reply.send(mind.scheduler.summary(mind.clock.now()))),
            Message::Explain(id, reply) => drop(reply.send(mind.scheduler.recent().find(&id).cloned())),
            Message::Recent(most, reply) => {
                drop(reply.send(mind.scheduler.recent().iter().take(most).cloned().collect()));
            }
        }
        Ok(())
    }
}

// === impl Mind ===

impl Mind {
    fn ask(&mut self, request: InferenceRequest, reply: RpcReplyPort<Answer>) {
        if reply.is_closed() {
            return;
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.insert(ticket, reply);
        self.handle(Input::Asked(Asked { ticket, request }));
    }

    fn handle(&mut self, input: Input) {
        self.scheduler.handle(input, self.clock.now(), &mut self.outbox);
        for (ticket, answer) in self.outbox.answers.drain(..) {
            let Some(reply) = self.waiting.remove(&ticket) else { continue };
            // Made before the answer leaves: when nobody listens any more, dropping it closes the ticket.
            let answer = answer.map(|decision| (Reservation::new(ticket, self.books.clone()), decision));
            drop(reply.send(answer));
        }
        if let Some(voice) = self.voice.as_ref().filter(|_| !self.outbox.say.is_empty()) {
            voice.say(self.outbox.say.drain(..));
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

impl std::fmt::Debug for Mind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mind").field("scheduler", &self.scheduler).finish_non_exhaustive()
    }
}
