//! The running cluster: replicas, engines, gateway and discovery, advanced together tick by tick.
//!
//! Must not know phases, or which faults of the plan led to the current [`FaultState`].

use std::net::SocketAddr;
use std::sync::PoisonError;
use std::time::Duration;

use murmuration::chance::mix;
use murmuration::config;
use murmuration::fleet::Endpoint;
use murmuration::plugin::Catalog;
use murmuration::request::InferenceRequest;
use murmuration_actors::ext_proc::Settings;
use murmuration_actors::ext_proc::headers::Head;
use murmuration_actors::ext_proc::request_builder::RequestBuilder;

use super::SimError;
use super::directory::Directory;
use super::engine::Engine;
use super::ext_proc_call;
use super::fault_state::{FaultState, TrafficFaults};
use super::gateway::Gateway;
use super::net::{Net, Places};
use super::pair_kills::PairKills;
use super::prompt::Prompt;
use super::recorder::Recorder;
use super::replica::{Answer, Considered, ReplicaHost, config_text};
use crate::history::{Fact, Source, Twin};
use crate::plan::{Discovery, Part, Plan};

/// The step of virtual time. Bytes written in one tick arrive in a later one.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// How often the gateway probes the readiness of replicas.
const PROBE: Duration = Duration::from_millis(250);
/// With [`Discovery::Flap`]: how long discovery omits an endpoint, and how long it then lists all of them.
const FLAP: Duration = Duration::from_millis(250);

/// The cluster.
pub(super) struct Cluster {
    plan: Plan,
    places: Places,
    net: Net,
    recorder: Recorder,
    replicas: Vec<ReplicaHost>,
    engines: Vec<Engine>,
    directory: Directory,
    /// Engines replaced so far.
    replaced: usize,
    gateway: Gateway,
    fault_state: FaultState,
    pair_kills: PairKills,
    settings: Settings,
    /// The endpoints last announced to each replica.
    announced: Vec<Option<Vec<Endpoint>>>,
    twins: Option<Twins>,
    asked: usize,
}

/// One request that every replica is asked to decide, without dispatching it.
struct Twins {
    considered: Vec<(usize, Considered)>,
    tokens: Vec<u32>,
}

// === impl Cluster ===

impl Cluster {
    /// The plan's cluster without any fault in force; all replicas and engines start.
    pub(super) fn new(plan: &Plan, recorder: &Recorder) -> Result<Self, SimError> {
        let places = Places::new(&plan.cluster);
        let net = Net::new(&plan.cluster, mix(plan.seed ^ 0x006e_6574));
        let directory = Directory::new(places, plan.cluster.engines);
        let engines: Vec<Engine> =
            (0..plan.cluster.engines).map(|number| Engine::new(number, &plan.cluster, &directory)).collect();
        let gateway = Gateway::new(plan, &net, recorder, engines.clone(), &directory)?;
        let replicas =
            (0..plan.cluster.replicas).map(|number| ReplicaHost::new(number, &plan.cluster, &net, recorder)).collect();
        let blueprint = config::read(config_text(&plan.cluster), "the configuration", &Catalog::builtin())?;
        let mut cluster = Self {
            plan: plan.clone(),
            places,
            net,
            recorder: recorder.clone(),
            replicas,
            engines,
            directory,
            replaced: 0,
            gateway,
            fault_state: FaultState::of(plan, std::iter::empty()),
            pair_kills: PairKills::default(),
            settings: Settings::new(blueprint.prefix),
            announced: vec![None; plan.cluster.replicas],
            twins: None,
            asked: 0,
        };
        cluster.set(FaultState::of(plan, std::iter::empty()))?;
        Ok(cluster)
    }

    /// Applies `fault_state` from now on.
    pub(super) fn set(&mut self, fault_state: FaultState) -> Result<(), SimError> {
        self.pair_kills.only(&fault_state);
        self.apply(fault_state)
    }

    fn apply(&mut self, mut fault_state: FaultState) -> Result<(), SimError> {
        self.pair_kills.add_to(&mut fault_state);
        let (places, plan) = (self.places, &self.plan);
        self.gateway.set_transfers(fault_state.transfers);
        self.net.relink(|links| fault_state.apply_to_links(links, &places, &plan.cluster));
        for (number, (engine, engine_faults)) in self.engines.iter().zip(&fault_state.engines).enumerate() {
            engine.set(*engine_faults, self.gateway.host(), &self.net.at(places.engine(number)));
        }
        for (host, replica_faults) in self.replicas.iter_mut().zip(&fault_state.replicas) {
            host.set(*replica_faults)?;
        }
        self.fault_state = fault_state;
        Ok(())
    }

    /// Sets the wire version of a replica from its next start on.
    pub(super) fn upgrade(&mut self, replica: usize, wire_version: u16) {
        self.replicas[replica].upgrade(wire_version);
    }

    /// Lets a replica reload its configuration.
    pub(super) fn reload(&mut self, replica: usize) {
        self.replicas[replica].reload();
    }

    /// Kills a part of a replica at once.
    pub(super) fn kill_part(&mut self, replica: usize, part: &Part) {
        self.replicas[replica].kill_part(part);
    }

    /// Sets a replica's wall clock forward by `ms` milliseconds; back if negative.
    pub(super) fn step_clock(&mut self, replica: usize, ms: i64) {
        self.replicas[replica].step_clock(ms);
    }

    /// Runs everything for one tick that ends at `now`. New requests arrive only if `traffic` is true.
    pub(super) fn tick(&mut self, now: Duration, traffic: bool) -> Result<(), SimError> {
        self.recorder.advance(now);
        self.net.advance(now);
        if on_the_beat(now, PROBE) {
            self.probe();
        }
        self.churn(now);
        self.discover(now);
        for host in &mut self.replicas {
            host.tick(TICK).map_err(SimError::Replica)?;
        }
        let moment = self.recorder.moment();
        self.engines.iter().for_each(|engine| engine.advance(moment));
        self.gateway.tick(TICK, traffic.then_some(self.surge()));
        self.record_twins();
        self.strike_pairs()
    }

    /// Lets die who waits for a moment of a pair that is now.
    fn strike_pairs(&mut self) -> Result<(), SimError> {
        let victims = self.pair_kills.strike(&self.fault_state, self.gateway.pairs(), &self.plan.cluster);
        if victims.is_empty() {
            return Ok(());
        }
        victims.into_iter().for_each(|victim| self.recorder.write(Source::Environment, Fact::PairStruck(victim)));
        self.apply(self.fault_state.clone())
    }

    /// Takes a snapshot of every replica.
    pub(super) fn snapshot(&self) {
        self.replicas.iter().for_each(ReplicaHost::snapshot);
    }

    /// Asks every replica to decide one request, which is not dispatched.
    pub(super) fn ask_twins(&mut self) {
        self.asked += 1;
        let text = self.gateway.prompt(self.asked).text();
        let body = Prompt::body(&text, 8, false);
        let subset = self.twin_subset();
        let Some(request) = self.read(&body, subset.as_deref()) else { return };
        let asked = self.replicas.iter().enumerate();
        let considered = asked.filter_map(|(number, host)| Some((number, host.consider(&request)?))).collect();
        self.twins = Some(Twins { considered, tokens: Prompt::tokens(&text) });
    }

    /// Open requests, at clients and at engines.
    pub(super) fn open(&self) -> usize {
        self.gateway.open() + self.engines.iter().map(Engine::requests).sum::<usize>()
    }

    /// Whether every replica is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.replicas.iter().all(ReplicaHost::is_ready)
    }

    /// Where engines prefill for others, every other request may be decoded by one engine only, in turn. So there are
    /// pairs without load too: another engine holds the prompt.
    fn twin_subset(&self) -> Option<Vec<SocketAddr>> {
        let cluster = &self.plan.cluster;
        if cluster.prefillers == 0 || self.asked.is_multiple_of(2) {
            return None;
        }
        let decoder = cluster.prefillers + self.asked / 2 % cluster.decoders();
        Some((0..cluster.prefillers).chain([decoder]).map(|engine| self.directory.address(engine)).collect())
    }

    fn surge(&self) -> TrafficFaults {
        self.fault_state.traffic
    }

    /// The request as a replica would read it.
    fn read(&self, body: &[u8], subset: Option<&[SocketAddr]>) -> Option<InferenceRequest> {
        let head = Head::new(ext_proc_call::head("twin"));
        RequestBuilder { head: &head, id: "twin", body, subset }.read(&self.settings).ok().map(|(request, _)| request)
    }

    fn record_twins(&mut self) {
        let Some(Twins { considered, tokens }) = self.twins.take() else { return };
        let block = u64::from(self.settings.prefix.block_tokens.max(1));
        let mut twins = Vec::new();
        for (replica, answer) in considered {
            let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some(Answer { to, prefill, matched }) = answer else { continue };
            let engine =
                to.as_ref().and_then(|id| self.directory.named(id)).and_then(|engine| self.engines.get(engine));
            let held = engine.map_or(0, |engine| engine.held(&tokens) / block);
            twins.push(Twin { replica, to, prefill, matched, held });
        }
        self.recorder.write(Source::Environment, Fact::Twins(twins));
    }

    /// Probes the readiness of every replica. One that is frozen or cut off from the gateway does not answer.
    fn probe(&mut self) {
        let gateway = self.places.gateway();
        let answer = |(number, host): (usize, &ReplicaHost)| {
            let replica = self.places.replica(number);
            let reachable = self.net.open(gateway, replica) && self.net.open(replica, gateway);
            let frozen = self.fault_state.replicas[number].frozen;
            (reachable && !frozen).then(|| host.is_ready())
        };
        let answers: Vec<Option<bool>> = self.replicas.iter().enumerate().map(answer).collect();
        self.gateway.probed(&answers);
    }

    /// Replaces the next engine in turn, if the interval of the churn fault has passed.
    fn churn(&mut self, now: Duration) {
        let Some((_, with)) = self.fault_state.churn.filter(|(every, _)| on_the_beat(now, *every)) else { return };
        let number = self.replaced % self.engines.len();
        self.replaced += 1;
        self.directory.replace(number, with);
        self.engines[number].replace(self.gateway.host(), &self.net.at(self.places.engine(number)));
    }

    /// Announces the endpoints to each replica that discovery can reach, if they changed since the last announcement.
    fn discover(&mut self, now: Duration) {
        let Some(endpoints) = self.discovered(now) else { return };
        for (number, host) in self.replicas.iter().enumerate() {
            let open = self.net.open(self.places.discovery(), self.places.replica(number));
            if open && self.announced[number].as_ref() != Some(&endpoints) {
                host.announce(endpoints.clone());
                self.announced[number] = Some(endpoints.clone());
            }
        }
    }

    /// What discovery announces now; `None` if it is silent.
    fn discovered(&self, now: Duration) -> Option<Vec<Endpoint>> {
        let engine = |number: usize| self.engines[number].endpoint(self.plan.cluster.zone_of_engine(number));
        let all = 0..self.plan.cluster.engines;
        match self.fault_state.discovery {
            // Without churn, engines keep their names and addresses, so the old announcement equals the current one.
            None | Some(Discovery::Old) => Some(all.map(engine).collect()),
            Some(Discovery::Empty) => Some(Vec::new()),
            Some(Discovery::Silent) => None,
            Some(Discovery::Flap) => {
                let beat = usize::try_from(now.as_micros() / FLAP.as_micros()).unwrap_or(0);
                let missing = beat.is_multiple_of(2).then_some(beat / 2 % self.plan.cluster.engines);
                Some(all.filter(|number| Some(*number) != missing).map(engine).collect())
            }
        }
    }
}

/// Whether `now` is a whole multiple of `every`.
pub(super) fn on_the_beat(now: Duration, every: Duration) -> bool {
    now.as_micros().is_multiple_of(every.as_micros())
}
