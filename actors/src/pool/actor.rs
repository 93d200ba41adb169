//! The supervising actor.
//!
//! Must not know rules of choice. A scheduler that is born again is told all endpoints and objectives anew; reports come
//! by themselves; open tickets of its former life are gone, and news of them is legal and ignored.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::blueprint::{EngineSettings, FileDiscovery, ScrapeSettings};
use murmuration::event::Event;
use murmuration::fleet::{Endpoint, EndpointChange};
use murmuration::id::EndpointId;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::watch;

use super::handle::{Child, PoolHandle, PoolMessage};
use super::restarts::Restarts;
use crate::admin::Readiness;
use crate::discovery::{FileDiscoveryActor, FileDiscoveryArguments};
use crate::endpoint::{EndpointActor, EndpointArguments};
use crate::scheduler::{Message, SchedulerActor, SchedulerArguments};
use crate::world::Network;

/// Tickets of two lives of a scheduler differ: each life starts this much higher.
const TICKETS_A_LIFE: u64 = 1 << 40;

/// The label that names an endpoint's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The actor.
#[derive(Debug)]
pub struct PoolActor;

/// What a pool is born with.
#[derive(Clone, Debug)]
pub struct PoolArguments {
    /// The scheduler's own.
    pub scheduler: SchedulerArguments,
    /// Where the living scheduler is made known.
    pub living: Arc<watch::Sender<Option<ActorRef<Message>>>>,
    /// Where it is made known that the endpoints are known.
    pub readiness: Arc<watch::Sender<Readiness>>,
    /// The endpoints file.
    pub discovery: Option<FileDiscovery>,
    /// Where metrics pages are.
    pub scrape: ScrapeSettings,
    /// Metric names by kind of engine.
    pub engines: EngineSettings,
    /// Who carries scrapes.
    pub network: Arc<dyn Network>,
    /// From one scrape to the next.
    pub interval: Duration,
}

/// The state.
#[derive(Debug)]
pub struct Household {
    arguments: PoolArguments,
    lives: u64,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    objectives: BTreeMap<String, i32>,
    children: BTreeMap<ActorKey, Child>,
    watchers: BTreeMap<EndpointId, ActorCell>,
    restarts: BTreeMap<Child, Restarts>,
}

/// An actor's id, ordered only to be found again; never printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ActorKey(u64);

impl Actor for PoolActor {
    type Msg = PoolMessage;
    type State = Household;
    type Arguments = PoolArguments;

    async fn pre_start(
        &self,
        _: ActorRef<PoolMessage>,
        arguments: PoolArguments,
    ) -> Result<Household, ActorProcessingErr> {
        Ok(Household {
            arguments,
            lives: 0,
            endpoints: BTreeMap::new(),
            objectives: BTreeMap::new(),
            children: BTreeMap::new(),
            watchers: BTreeMap::new(),
            restarts: BTreeMap::new(),
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<PoolMessage>,
        household: &mut Household,
    ) -> Result<(), ActorProcessingErr> {
        household.revive(&myself, Child::Scheduler).await?;
        household.revive(&myself, Child::Discovery).await
    }

    async fn handle(
        &self,
        myself: ActorRef<PoolMessage>,
        message: PoolMessage,
        household: &mut Household,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PoolMessage::Announced(endpoints, objectives) => household.announced(&myself, endpoints, objectives).await,
            PoolMessage::Revive(child) => household.revive(&myself, child).await,
            PoolMessage::KeepersChanged => {
                household.tell_keeping();
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PoolMessage>,
        event: SupervisionEvent,
        household: &mut Household,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(who, why) => household.lost(&myself, &who, &why.to_string()),
            SupervisionEvent::ActorTerminated(who, _, why) => {
                household.lost(&myself, &who, why.as_deref().unwrap_or("it stopped"));
            }
            _ => {}
        }
        Ok(())
    }
}

// === impl Household ===

impl Household {
    async fn announced(
        &mut self,
        myself: &ActorRef<PoolMessage>,
        endpoints: Vec<Endpoint>,
        objectives: BTreeMap<String, i32>,
    ) -> Result<(), ActorProcessingErr> {
        let wanted: BTreeMap<EndpointId, Endpoint> = endpoints.into_iter().map(|e| (e.id.clone(), e)).collect();
        let mut changes = Vec::new();
        for id in self.endpoints.keys().filter(|id| !wanted.contains_key(*id)) {
            changes.push(EndpointChange::Remove(id.clone()));
        }
        let changed = wanted.values().filter(|endpoint| self.endpoints.get(&endpoint.id) != Some(endpoint));
        changes.extend(changed.cloned().map(EndpointChange::Upsert));
        self.endpoints = wanted;
        self.objectives = objectives;
        let scheduler = self.arguments.scheduler.handle.clone();
        scheduler.objectives(self.objectives.clone());
        scheduler.discovered(changes.clone());
        for change in changes {
            match change {
                EndpointChange::Remove(id) => self.dismiss(&id),
                EndpointChange::Upsert(endpoint) => {
                    self.dismiss(&endpoint.id);
                    self.revive(myself, Child::Endpoint(endpoint.id)).await?;
                }
            }
        }
        self.tell_keeping();
        self.arguments.readiness.send_if_modified(|readiness| !std::mem::replace(&mut readiness.synced, true));
        Ok(())
    }

    /// Gives `child` a life, unless it isn't wanted any more.
    async fn revive(&mut self, myself: &ActorRef<PoolMessage>, child: Child) -> Result<(), ActorProcessingErr> {
        let supervisor = myself.get_cell();
        let cell = match &child {
            Child::Scheduler => Some(self.new_scheduler(supervisor).await?),
            Child::Discovery => self.new_discovery(myself, supervisor).await?,
            Child::Endpoint(id) => self.new_watcher(&id.clone(), supervisor).await?,
        };
        if let Some(cell) = cell {
            if let Child::Endpoint(id) = &child {
                self.watchers.insert(id.clone(), cell.clone());
            }
            self.children.insert(ActorKey::of(cell.get_id()), child);
        }
        Ok(())
    }

    async fn new_scheduler(&mut self, supervisor: ActorCell) -> Result<ActorCell, ActorProcessingErr> {
        let mut arguments = self.arguments.scheduler.clone();
        arguments.first_ticket = self.lives * TICKETS_A_LIFE;
        self.lives += 1;
        let (actor, _) = Actor::spawn_linked(None, SchedulerActor, arguments, supervisor).await?;
        let everyone = self.endpoints.values().cloned().map(EndpointChange::Upsert).collect();
        actor.cast(Message::Objectives(self.objectives.clone()))?;
        actor.cast(Message::Discovered(everyone))?;
        self.arguments.living.send_replace(Some(actor.clone()));
        Ok(actor.get_cell())
    }

    async fn new_discovery(
        &self,
        myself: &ActorRef<PoolMessage>,
        supervisor: ActorCell,
    ) -> Result<Option<ActorCell>, ActorProcessingErr> {
        let Some(FileDiscovery { path, watch }) = self.arguments.discovery.clone() else { return Ok(None) };
        let telemetry = self.arguments.scheduler.telemetry.clone();
        let arguments = FileDiscoveryArguments { path, watch, pool: PoolHandle::new(myself.clone()), telemetry };
        let (actor, _) = Actor::spawn_linked(None, FileDiscoveryActor, arguments, supervisor).await?;
        Ok(Some(actor.get_cell()))
    }

    async fn new_watcher(
        &self,
        id: &EndpointId,
        supervisor: ActorCell,
    ) -> Result<Option<ActorCell>, ActorProcessingErr> {
        let Some(endpoint) = self.endpoints.get(id) else { return Ok(None) };
        let Some(spec) = self.arguments.engines.spec_for(&endpoint.labels) else { return Ok(None) };
        let scrape = &self.arguments.scrape;
        let arguments = EndpointArguments {
            endpoint: id.clone(),
            metrics: SocketAddr::new(endpoint.address.ip(), scrape.port.unwrap_or(endpoint.address.port())),
            path: scrape.path.clone(),
            interval: self.arguments.interval,
            spec: spec.clone(),
            scheduler: self.arguments.scheduler.handle.clone(),
            telemetry: self.arguments.scheduler.telemetry.clone(),
            zone: zone_of(endpoint),
            clock: self.arguments.scheduler.clock,
            network: self.arguments.network.clone(),
            keeping: self.arguments.scheduler.keeping.clone(),
        };
        let (actor, _) = Actor::spawn_linked(None, EndpointActor, arguments, supervisor).await?;
        Ok(Some(actor.get_cell()))
    }

    /// A child is gone. Unless it was dismissed, it gets another life after a pause.
    fn lost(&mut self, myself: &ActorRef<PoolMessage>, who: &ActorCell, why: &str) {
        let Some(child) = self.children.remove(&ActorKey::of(who.get_id())) else { return };
        let now = self.arguments.scheduler.clock.now();
        let pause = self.restarts.entry(child.clone()).or_default().failed(now);
        let event = Event::ActorRestarted { actor: child.to_string(), why: why.to_owned() };
        self.arguments.scheduler.telemetry.record(&event);
        myself.send_after(pause, move || PoolMessage::Revive(child));
    }

    /// Tells how many endpoints are kept here.
    fn tell_keeping(&self) {
        let Some(keeping) = &self.arguments.scheduler.keeping else { return };
        let kept = self.endpoints.values().filter(|e| keeping.keeps(e.id.key(), &zone_of(e))).count();
        self.arguments.scheduler.telemetry.record(&Event::Keeping { kept, of: self.endpoints.len() });
    }

    /// Stops the watcher of `id`; it does not come back.
    fn dismiss(&mut self, id: &EndpointId) {
        let Some(cell) = self.watchers.remove(id) else { return };
        self.children.remove(&ActorKey::of(cell.get_id()));
        self.restarts.remove(&Child::Endpoint(id.clone()));
        cell.stop(None);
    }
}

// === impl ActorKey ===

impl ActorKey {
    fn of(id: ActorId) -> Self {
        Self(id.pid())
    }
}

/// The endpoint's zone; empty where its labels don't tell.
fn zone_of(endpoint: &Endpoint) -> String {
    endpoint.labels.get(ZONE_LABEL).cloned().unwrap_or_default()
}
