//! The scheduler of one replica for one InferencePool.
//!
//! Everything that happens arrives as an [`Input`] with its time; everything to do leaves in the [`Outbox`]. The
//! contract: two schedulers with the same inputs produce the same outboxes. A request is reserved before it is
//! answered, in one step, so a burst never sees the same stale scores twice.
//!
//! Must not know mailboxes, sockets, or who sent an input.

mod binding;
mod burst;
mod cache;
mod closing;
mod crowd;
pub mod digest;
mod failing;
mod foreign_traffic;
pub mod input;
pub mod ledger;
mod publishing;
mod receiving;
pub mod recent;
mod reporting;
mod slices;
pub mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use digest::BeliefDigest;
pub use input::{Input, News, Outbox};
pub use ledger::{Balance, Ledger};
pub use recent::Recent;
pub use slices::{HistoryWalk, PendingFacts, SLICE, Walk};
pub use summary::{EndpointSummary, FleetSummary};

use crate::config::blueprint::{InFlightSettings, PrefixSettings, SaturationSettings};
use crate::event::Event;
use crate::fleet::{CacheGeometry, EndpointChange, Entry, Fleet, Observation, TrustAges};
use crate::id::{BlockHash, EndpointId, EndpointKey, Slot, Ticket};
use crate::prefix::{PlacedAt, PrefixIndex, PrefixMatch, Revocable, anchors};
use crate::replication::Peers;
use crate::request::{Asked, InferenceRequest, Refusal, RefusalCode};
use crate::schedule::decision::Explanation;
use crate::schedule::saturation::{saturation, sheds};
use crate::schedule::uncertainty::own_key;
use crate::schedule::{Ask, Cost, Decision, Leg, Profiles, Stage, Uncertainty, Undecided, View};
use crate::scheduler::burst::BurstEstimator;
use crate::scheduler::cache::Losses;
use crate::scheduler::foreign_traffic::ForeignTraffic;
use crate::scheduler::ledger::Hold;
use crate::scheduler::publishing::AnnouncedLoads;
use crate::scheduler::reporting::{decided, filtered_out, no_candidates};
use crate::session::{Sessions, TTL_DEFAULT};
use crate::time::Timestamp;

/// Settings of a scheduler, apart from its profiles.
#[derive(Clone, Debug)]
pub struct SchedulerSettings {
    /// How prompts are matched.
    pub prefix: PrefixSettings,
    /// Which tokens count as in-flight load.
    pub in_flight: InFlightSettings,
    /// When the pool counts as full.
    pub saturation: SaturationSettings,
    /// Memory limit of the prefix index, in bytes.
    pub index_bytes_max: usize,
    /// Decisions that are kept for explanations, 1 to [`recent::RECENT_MAX`]: [`recent::each_keeps`].
    pub recent_max: usize,
    /// How long a ticket may stay open without news of its end.
    pub lease: Duration,
    /// Whether facts are published to peers.
    pub sharing: bool,
    /// Ages of reports at which trust changes.
    pub trust_ages: TrustAges,
}

/// The scheduler.
#[derive(Debug)]
pub struct Scheduler {
    fleet: Fleet,
    ledger: Ledger,
    index: PrefixIndex,
    revocable: Revocable,
    /// Placements and revocations that this replica made.
    own_number: u64,
    profiles: Profiles,
    settings: SchedulerSettings,
    objectives: BTreeMap<String, i32>,
    recent: Recent,
    peers: Peers,
    announced: AnnouncedLoads,
    burst: BurstEstimator,
    foreign_traffic: ForeignTraffic,
    sessions: Sessions,
    losses: Losses,
    /// Scratch column of prefix matches, by slot.
    matches: Vec<u32>,
}

// === impl Scheduler ===

impl Scheduler {
    /// A scheduler without endpoints or peers.
    pub fn new(profiles: Profiles, settings: SchedulerSettings) -> Self {
        Self {
            fleet: Fleet::new(settings.trust_ages),
            ledger: Ledger::new(settings.lease),
            index: PrefixIndex::new(settings.index_bytes_max),
            revocable: Revocable::default(),
            own_number: 0,
            objectives: BTreeMap::new(),
            recent: Recent::new(settings.recent_max),
            peers: Peers::default(),
            announced: AnnouncedLoads::new(settings.sharing),
            burst: BurstEstimator::default(),
            foreign_traffic: ForeignTraffic::new(),
            sessions: Sessions::new(profiles.sessions().ttl.unwrap_or(TTL_DEFAULT)),
            losses: Losses::default(),
            matches: Vec::new(),
            profiles,
            settings,
        }
    }

    /// Applies an input that happened at `now`, and adds what must be done to `out`.
    pub fn handle(&mut self, input: Input, now: Timestamp, out: &mut Outbox) {
        match input {
            Input::Discovered(changes) => changes.into_iter().for_each(|change| self.discovered(change, now, out)),
            Input::Objectives(objectives) => self.objectives = objectives,
            Input::Observed(endpoint, observation) => self.observed(&endpoint, observation, now, out),
            Input::Unreachable(endpoint) => self.unreachable(&endpoint, now, out),
            Input::Batch(batch) => self.receive_batch(*batch, now, out),
            Input::PeerLost(replica, incarnation) => self.peer_lost(&replica, incarnation),
            Input::Asked(asked) => self.asked(asked, now, out),
            Input::TicketUpdate(ticket, news) => self.ticket_update(ticket, news, now, out),
            Input::Tick => self.tick(now, out),
        }
    }

    /// Endpoints whose last report, from any replica's scrape, is older than `after`, with its age. The age is
    /// [`Duration::MAX`] where there is none.
    pub fn silent(&self, after: Duration, now: Timestamp) -> BTreeMap<EndpointKey, Duration> {
        let silence = |entry: &Entry| entry.age(now).unwrap_or(Duration::MAX);
        let silent = self.fleet.iter().filter(|(_, entry)| silence(entry) > after);
        silent.map(|(_, entry)| (entry.endpoint.id.key(), silence(entry))).collect()
    }

    /// The last decisions.
    pub fn recent(&self) -> &Recent {
        &self.recent
    }

    fn discovered(&mut self, change: EndpointChange, now: Timestamp, out: &mut Outbox) {
        match change {
            EndpointChange::Remove(id) => {
                let known = self.fleet.slot(&id).and_then(|slot| self.fleet.tenancy(slot));
                if let Some(slot) = self.fleet.remove(&id, &mut out.events) {
                    self.forget_cache(slot);
                    self.losses.leaves(id.key());
                    self.peers.leaves(id.key(), now);
                    self.announced.withdraw(id.key(), now, &mut out.publish);
                }
                self.orphaned(known, now, out);
            }
            EndpointChange::Upsert(endpoint) => {
                let id = endpoint.id.clone();
                let known = self.fleet.slot(&id).and_then(|slot| self.fleet.tenancy(slot));
                let replaced = self.fleet.upsert(endpoint, &mut out.events);
                replaced.into_iter().for_each(|slot| self.forget_cache(slot));
                let tenancy = self.fleet.slot(&id).and_then(|slot| self.fleet.tenancy(slot));
                if let Some(tenancy) = tenancy.filter(|_| tenancy != known) {
                    self.orphaned(known, now, out);
                    self.peers.enters(id.key());
                    self.index.set_capacity(tenancy.slot, self.settings.prefix.capacity_blocks);
                    self.refold(id.key());
                    self.refold_failures(id.key());
                    self.publish_in_flight(tenancy.slot, now, out);
                    if self.losses.returns(id.key()) || replaced.is_some() {
                        self.is_another_engine(tenancy.slot, now, out);
                    }
                }
            }
        }
    }

    fn observed(&mut self, endpoint: &EndpointId, mut observation: Observation, now: Timestamp, out: &mut Outbox) {
        let geometry = observation.report.cache;
        let unfinished = observation.report.unfinished();
        let measured = now - observation.age;
        let Some(slot) = self.fleet.slot(endpoint) else { return };
        if let Some(entry) = self.fleet.get(slot) {
            self.announced.steady(entry, &mut observation.report);
            self.announced.load(entry, &observation.report, measured, &mut out.publish);
        }
        let signs = self.cache_signs(slot, &observation.report);
        if !self.fleet.observe_at(slot, observation, now) {
            return;
        }
        self.apply_cache_signs(slot, signs, measured, out);
        self.fleet.report_missing(slot, &mut out.events);
        self.learn(slot, geometry, unfinished, measured, out);
        self.reported(endpoint.key(), measured);
    }

    /// Applies what a report, own or a peer's, says besides the load: the cache's size, and which detached tickets
    /// ended.
    fn learn(
        &mut self,
        slot: Slot,
        geometry: Option<CacheGeometry>,
        unfinished: Option<u32>,
        measured: Timestamp,
        out: &mut Outbox,
    ) {
        if let (true, Some(cache)) = (self.settings.prefix.auto_tune, geometry) {
            let blocks = cache.tokens() / u64::from(self.settings.prefix.block_tokens.max(1));
            if blocks > 0 {
                self.index.set_capacity(slot, blocks);
            }
        }
        if let Some(unfinished) = unfinished {
            self.infer_ends(slot, unfinished, measured, out);
        }
    }

    fn asked(&mut self, asked: Asked, now: Timestamp, out: &mut Outbox) {
        let Asked { ticket, mut request, waited } = asked;
        if let Some(priority) = request.objective.as_ref().and_then(|name| self.objectives.get(name)) {
            request.priority = *priority;
        }
        match self.decide_after(&request, waited, now) {
            Ok(decision) => {
                self.reserve(ticket, *request, &decision, now, out);
                let decision = Arc::new(decision);
                self.recent.remember(decision.clone());
                out.answers.push((ticket, Ok(decision)));
            }
            // The stream emits the events of all refusals, including its own.
            Err(refusal) => out.answers.push((ticket, Err(refusal))),
        }
    }

    /// Decides without reserving anything. The same question gets the same answer.
    ///
    /// # Errors
    /// A refusal when no endpoint may serve the request, or when the pool is full and the request may be shed.
    pub fn decide(&mut self, request: &InferenceRequest, now: Timestamp) -> Result<Decision, Refusal> {
        self.decide_after(request, Duration::ZERO, now)
    }

    /// Decides on a request that was kept back for a while.
    fn decide_after(
        &mut self,
        request: &InferenceRequest,
        waited: Duration,
        now: Timestamp,
    ) -> Result<Decision, Refusal> {
        self.matches.clear();
        self.matches.resize(self.fleet.width(), 0);
        if self.settings.prefix.enabled {
            self.index.walk(request.prompt.chain.anchors(), &mut self.matches);
        }
        let (key, crowd) = (own_key(request, &self.matches), self.crowd(request, waited, now));
        let uncertainty = self.uncertainty(crowd);
        let before = if uncertainty == Uncertainty::Isolated { 0 } else { crowd.before };
        self.matches.iter_mut().for_each(|matched| *matched = anchors::blocks(*matched));
        let mut view = View::new(&self.fleet, request, &self.matches, now);
        view.bind(&request.session, self.bound(request, now));
        if view.rows.is_empty() {
            return Err(no_candidates(&self.fleet, &view));
        }
        let saturation = saturation(&view.rows, &self.settings.saturation);
        if sheds(request.priority, saturation) {
            let sentence = "system saturated, sheddable request dropped";
            return Err(Refusal::new(RefusalCode::Saturated, sentence));
        }
        let explanation = Explanation {
            request_id: request.id.clone(),
            model: request.target_model.clone(),
            prompt_tokens: request.prompt.tokens,
            attributes: request.attributes.clone(),
            candidates: view.rows.len(),
            outside_subset: view.outside_subset,
            asleep: view.asleep,
            unreachable: view.unreachable,
            failing: failing::explained(&view),
            saturation,
            uncertainty,
            waited,
            others_before: before,
            ..Explanation::default()
        };
        let ask = Ask { key, uncertainty, before, ..Ask::sure(request) };
        let decision = self.profiles.decide(&ask, &view.rows, explanation);
        let mut decision = decision.map_err(|undecided| match undecided {
            Undecided::Rejected(sentence) => Refusal::new(RefusalCode::Saturated, sentence),
            Undecided::Invalid(sentence) => Refusal::new(RefusalCode::BadRequest, sentence),
            Undecided::NoEndpoints(explanation) => filtered_out(&explanation),
        })?;
        if request.if_available && decision.primary().is_none_or(|target| target.matched.blocks == 0) {
            let sentence = "the endpoint chosen for the request holds none of its prompt in its KV cache";
            return Err(Refusal::new(RefusalCode::NoCachedPrefix, sentence));
        }
        let split = decision.leg(Stage::Prefill).is_some();
        for leg in &mut decision.legs {
            let matched = leg.targets.first().map_or(PrefixMatch::default(), |target| target.matched);
            leg.cost = Cost::of(leg.stage, split, matched, request, &self.settings.in_flight);
        }
        self.profiles.hook(&ask, &mut decision);
        Ok(decision)
    }

    fn reserve(
        &mut self,
        ticket: Ticket,
        request: InferenceRequest,
        decision: &Decision,
        now: Timestamp,
        out: &mut Outbox,
    ) {
        let mut holds: Vec<Hold> = decision.legs.iter().filter_map(|leg| self.hold(leg, &request, now, out)).collect();
        // Of a pair the first token also waits for the transfer, and whoever computed the prompt may be another one of
        // the list. An answer in one piece comes when it is complete.
        if holds.len() > 1 || !request.streaming {
            holds.iter_mut().for_each(|hold| hold.waited_for = 0);
        }
        if self.peers.is_empty() {
            self.foreign_traffic.update(&self.fleet, now);
        }
        if let Some(target) = decision.primary() {
            out.events.push(Event::Decided(Box::new(decided(ticket, &request, target, decision))));
        }
        self.ledger.open(ticket, holds, request.prompt.chain.into_anchors(), request.sees_response, now);
        if let Some(open) = self.ledger.get_mut(ticket) {
            open.session = request.session.id;
        }
        // The first token of a detached request is never seen here, so its session is bound now.
        if !request.sees_response {
            self.bind_session_of(ticket, now, out);
        }
    }

    /// Reserves the endpoint of one leg. Its load and its placement count before the answer leaves.
    fn hold(&mut self, leg: &Leg, request: &InferenceRequest, now: Timestamp, out: &mut Outbox) -> Option<Hold> {
        let target = leg.targets.first()?;
        let slot = self.fleet.slot(&target.endpoint)?;
        let share = leg.cost.share();
        let tenancy = self.fleet.reserve(slot, share, now)?;
        // An encoder computes no blocks. The endpoint that decodes gets them, whoever computes them.
        if leg.stage != Stage::Encode {
            self.dispatch(slot, request.prompt.chain.anchors(), now, out);
        }
        self.publish_in_flight(slot, now, out);
        let (endpoint, held_before) = (target.endpoint.clone(), target.matched.blocks);
        let waiting = self.fleet.get(slot).map_or(0, |entry| entry.open_work().prefill_tokens);
        let waited_for = if share.prefills > 0 { waiting } else { 0 };
        Some(Hold { stage: leg.stage, endpoint, tenancy, share, waited_for, held_before })
    }

    /// Places a prompt on an endpoint, here and on peers. They count each placement that they receive as a dispatch, so
    /// it counts here too.
    fn dispatch(&mut self, slot: Slot, anchors: &[BlockHash], now: Timestamp, out: &mut Outbox) {
        self.count_dispatch(slot, now);
        let by = self.own_number();
        self.place(slot, Some(by), anchors, PlacedAt::new(now, Duration::ZERO), now);
        self.publish_placement(slot, anchors, now, out);
    }

    /// Counts a dispatch for the estimate of bursts. A leg on an endpoint that does not decode does not count, so that
    /// a pair counts once. It counts twice if the prefill endpoint's role allows decoding too.
    fn count_dispatch(&mut self, slot: Slot, at: Timestamp) {
        if self.fleet.get(slot).is_some_and(|entry| entry.stages.serves()) {
            self.burst.dispatched(at);
        }
    }

    fn tick(&mut self, now: Timestamp, out: &mut Outbox) {
        self.fleet.report_trust(now, &mut out.events);
        self.fleet.report_failing(now, &mut out.events);
        self.sessions.expire(now);
        self.skip_silent_prefill(now, out);
        self.expire(now, out);
        self.expire_peers(now);
    }
}

#[cfg(test)]
mod tests;
