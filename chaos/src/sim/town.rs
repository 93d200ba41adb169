//! The town: replicas, engines, gateway and discovery, moved together tick by tick.
//!
//! Must not know phases, or why the weather is as it is.

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
use super::gateway::Gateway;
use super::net::{Net, Places};
use super::prompt::Prompt;
use super::replica::{Considered, Resident, config_text};
use super::scribe::Scribe;
use super::weather::{Surge, Weather};
use super::words;
use crate::chronicle::{Fact, Twin, Witness};
use crate::plan::{Discovery, Part, Plan};

/// What time is cut into; what is written in one arrives in a later one.
pub(super) const TICK: Duration = Duration::from_millis(1);
/// How often the gateway asks replicas whether they are ready.
const PROBE: Duration = Duration::from_millis(250);
/// How long discovery leaves an endpoint out, and then in, when it flaps.
const FLAP: Duration = Duration::from_millis(250);

/// The town.
pub(super) struct Town {
    plan: Plan,
    places: Places,
    net: Net,
    scribe: Scribe,
    residents: Vec<Resident>,
    engines: Vec<Engine>,
    directory: Directory,
    /// How many engines were replaced.
    replaced: usize,
    gateway: Gateway,
    weather: Weather,
    settings: Settings,
    /// What discovery last told each replica.
    told: Vec<Option<Vec<Endpoint>>>,
    twins: Option<Twins>,
    asked: usize,
}

/// A request that was put to replicas.
struct Twins {
    considered: Vec<(usize, Considered)>,
    tokens: Vec<u32>,
}

// === impl Town ===

impl Town {
    /// The plan's town in fair weather, everybody about to start.
    pub(super) fn new(plan: &Plan, scribe: &Scribe) -> Result<Self, SimError> {
        let places = Places::new(&plan.town);
        let net = Net::new(places, mix(plan.seed ^ 0x006e_6574));
        let directory = Directory::new(places, plan.town.engines);
        let engines: Vec<Engine> = (0..plan.town.engines).map(|number| Engine::new(number, &directory)).collect();
        let gateway = Gateway::new(plan, &net, scribe, engines.clone(), &directory)?;
        let residents = (0..plan.town.replicas).map(|number| Resident::new(number, &plan.town, &net, scribe)).collect();
        let blueprint = config::read(config_text(), "the default configuration", &Catalog::builtin())?;
        let mut town = Self {
            plan: plan.clone(),
            places,
            net,
            scribe: scribe.clone(),
            residents,
            engines,
            directory,
            replaced: 0,
            gateway,
            weather: Weather::of(plan, std::iter::empty()),
            settings: Settings::new(blueprint.prefix),
            told: vec![None; plan.town.replicas],
            twins: None,
            asked: 0,
        };
        town.set(Weather::of(plan, std::iter::empty()))?;
        Ok(town)
    }

    /// The weather is this from now on.
    pub(super) fn set(&mut self, weather: Weather) -> Result<(), SimError> {
        let (places, plan) = (self.places, &self.plan);
        self.net.relink(|links| weather.blow(links, &places, &plan.town));
        for (number, (engine, ground)) in self.engines.iter().zip(&weather.engines).enumerate() {
            engine.set(*ground, self.gateway.host(), &self.net.at(places.engine(number)));
        }
        for (resident, sky) in self.residents.iter_mut().zip(&weather.replicas) {
            resident.set(*sky)?;
        }
        self.weather = weather;
        Ok(())
    }

    /// A replica speaks another wire version from its next life.
    pub(super) fn upgrade(&mut self, replica: usize, wire_version: u16) {
        self.residents[replica].upgrade(wire_version);
    }

    /// A replica reads its configuration again.
    pub(super) fn reload(&mut self, replica: usize) {
        self.residents[replica].reload();
    }

    /// A part of a replica ends at once.
    pub(super) fn kill_part(&mut self, replica: usize, part: &Part) {
        self.residents[replica].kill_part(part);
    }

    /// A replica's wall clock is set forward by so many milliseconds, or back.
    pub(super) fn step_clock(&mut self, replica: usize, ms: i64) {
        self.residents[replica].step_clock(ms);
    }

    /// Lets everybody run for one tick that ends at `now`; requests come where there is `traffic`.
    pub(super) fn tick(&mut self, now: Duration, traffic: bool) -> Result<(), SimError> {
        self.scribe.advance(now);
        self.net.advance(now);
        if on_the_beat(now, PROBE) {
            self.probe();
        }
        self.churn(now);
        self.discover(now);
        for resident in &mut self.residents {
            resident.tick(TICK).map_err(SimError::Replica)?;
        }
        let moment = self.scribe.moment();
        self.engines.iter().for_each(|engine| engine.advance(moment));
        self.gateway.tick(TICK, traffic.then_some(self.surge()));
        self.tell_twins();
        Ok(())
    }

    /// Looks at every replica.
    pub(super) fn look(&self) {
        self.residents.iter().for_each(Resident::look);
    }

    /// Asks every replica one request, which goes nowhere.
    pub(super) fn ask_twins(&mut self) {
        self.asked += 1;
        let text = self.gateway.prompt(self.asked).text();
        let body = Prompt::body(&text, 8, false);
        let Some(request) = self.read(&body) else { return };
        let asked = self.residents.iter().enumerate();
        let considered = asked.filter_map(|(number, resident)| Some((number, resident.consider(&request)?))).collect();
        self.twins = Some(Twins { considered, tokens: Prompt::tokens(&text) });
    }

    /// Requests that are not over, at clients and at engines.
    pub(super) fn open(&self) -> usize {
        self.gateway.open() + self.engines.iter().map(Engine::requests).sum::<usize>()
    }

    /// Whether every replica is ready.
    pub(super) fn is_ready(&self) -> bool {
        self.residents.iter().all(Resident::is_ready)
    }

    fn surge(&self) -> Surge {
        self.weather.traffic
    }

    /// The request as a replica would read it.
    fn read(&self, body: &[u8]) -> Option<InferenceRequest> {
        let head = Head::new(words::head("twin"));
        RequestBuilder { head: &head, id: "twin", body, subset: None }
            .read(&self.settings)
            .ok()
            .map(|(request, _)| request)
    }

    fn tell_twins(&mut self) {
        let Some(Twins { considered, tokens }) = self.twins.take() else { return };
        let block = u64::from(self.settings.prefix.block_tokens.max(1));
        let mut twins = Vec::new();
        for (replica, answer) in considered {
            let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
            let Some((to, matched)) = answer else { continue };
            let engine =
                to.as_ref().and_then(|id| self.directory.named(id)).and_then(|engine| self.engines.get(engine));
            let held = engine.map_or(0, |engine| engine.held(&tokens) / block);
            twins.push(Twin { replica, to, matched, held });
        }
        self.scribe.write(Witness::World, Fact::Twins(twins));
    }

    /// A replica that is cut off from the gateway does not answer its probes.
    fn probe(&mut self) {
        let gateway = self.places.gateway();
        let answer = |(number, resident): (usize, &Resident)| {
            let replica = self.places.replica(number);
            let heard = self.net.open(gateway, replica) && self.net.open(replica, gateway);
            let stands_still = self.weather.replicas[number].frozen;
            (heard && !stands_still).then(|| resident.is_ready())
        };
        let answers: Vec<Option<bool>> = self.residents.iter().enumerate().map(answer).collect();
        self.gateway.probed(&answers);
    }

    /// Replaces the engine whose turn it is, when it is time.
    fn churn(&mut self, now: Duration) {
        let Some((_, with)) = self.weather.churn.filter(|(every, _)| on_the_beat(now, *every)) else { return };
        let number = self.replaced % self.engines.len();
        self.replaced += 1;
        self.directory.replace(number, with);
        self.engines[number].replace(self.gateway.host(), &self.net.at(self.places.engine(number)));
    }

    /// Tells each replica what discovery says, where that changed and gets through.
    fn discover(&mut self, now: Duration) {
        let Some(says) = self.says(now) else { return };
        for (number, resident) in self.residents.iter().enumerate() {
            let open = self.net.open(self.places.discovery(), self.places.replica(number));
            if open && self.told[number].as_ref() != Some(&says) {
                resident.announce(says.clone());
                self.told[number] = Some(says.clone());
            }
        }
    }

    /// What discovery says now; `None` for nothing.
    fn says(&self, now: Duration) -> Option<Vec<Endpoint>> {
        let engine = |number: usize| self.engines[number].endpoint(self.plan.town.zone_of_engine(number));
        let all = 0..self.plan.town.engines;
        match self.weather.discovery {
            // But for churn engines keep their names and addresses, so what was said at the start is what is so: it is only said again.
            None | Some(Discovery::Old) => Some(all.map(engine).collect()),
            Some(Discovery::Empty) => Some(Vec::new()),
            Some(Discovery::Silent) => None,
            Some(Discovery::Flap) => {
                let beat = usize::try_from(now.as_micros() / FLAP.as_micros()).unwrap_or(0);
                let missing = beat.is_multiple_of(2).then_some(beat / 2 % self.plan.town.engines);
                Some(all.filter(|number| Some(*number) != missing).map(engine).collect())
            }
        }
    }
}

/// Whether `now` is a whole multiple of `every`.
pub(super) fn on_the_beat(now: Duration, every: Duration) -> bool {
    now.as_micros().is_multiple_of(every.as_micros())
}
