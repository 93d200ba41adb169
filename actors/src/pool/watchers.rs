//! The task that starts and stops endpoint watchers, and wakes them.
//!
//! Must not know rules of choice. Each watcher is a part of its own. When this task fails, all watchers restart with
//! it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration::config::blueprint::{EngineSettings, ScrapeSettings};
use murmuration::event::Event;
use murmuration::fleet::{Endpoint, EndpointChange};
use murmuration::id::{EndpointId, EndpointKey, PoolId};
use ractor::ActorRef;
use tokio::sync::watch;

use crate::admin::Readiness;
use crate::clock::Clock;
use crate::endpoint::{EndpointActor, EndpointArguments, EndpointMessage, slot_key};
use crate::environment::Network;
use crate::replication::Keeping;
use crate::scheduler::{Known, SchedulerHandle, SchedulerStarts, changes};
use crate::supervise::{Held, Supervisor, live};
use crate::telemetry::Telemetry;

/// The label that holds an endpoint's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What the task needs.
#[derive(Clone, Debug)]
pub struct PoolArguments {
    /// The pool's name.
    pub pool: PoolId,
    /// The latest announcement of discovery.
    pub announced: Known,
    /// Is notified of announcements, and receives reports.
    pub scheduler: SchedulerHandle,
    /// The supervisor. Each watcher is one of its parts.
    pub supervisor: Supervisor,
    /// Set to synced once the endpoints are known, as long as the pool exists.
    pub readiness: Arc<watch::Sender<Readiness>>,
    /// Records events.
    pub telemetry: Telemetry,
    /// The replica's clock.
    pub clock: Clock,
    /// Which endpoints this replica watches; `None` where it watches all.
    pub keeping: Option<Keeping>,
    /// The port and the path of metrics pages.
    pub scrape: ScrapeSettings,
    /// Metric names by kind of engine.
    pub engines: EngineSettings,
    /// The network that carries scrapes.
    pub network: Arc<dyn Network>,
    /// From one scrape to the next.
    pub interval: Duration,
}

/// The actor of a watcher in its current run.
type ActorSlot = Arc<Mutex<Option<ActorRef<EndpointMessage>>>>;

/// A watched endpoint. Dropping it ends the watcher.
#[derive(Debug)]
struct Watcher {
    endpoint: EndpointId,
    zone: String,
    actor: ActorSlot,
    _part: Held,
}

#[derive(Debug)]
struct Watchers {
    arguments: PoolArguments,
    endpoints: BTreeMap<EndpointId, Endpoint>,
    watchers: BTreeMap<EndpointKey, Watcher>,
}

/// What the task waits for.
enum Wakeup {
    Announced,
    KeepersChanged,
    Silent,
    SchedulerStarted,
    Over,
}

/// Watches the announced endpoints until the sender of announcements is gone.
///
/// # Errors
/// Never. A part requires this type.
pub async fn run(arguments: PoolArguments) -> Result<(), String> {
    let mut announced = arguments.announced.clone();
    let mut starts = arguments.scheduler.starts();
    let keeping = arguments.keeping.as_ref();
    let (mut keepers, mut silent) = (keeping.map(Keeping::changes), keeping.map(Keeping::silent));
    let mut watchers = Watchers { arguments, endpoints: BTreeMap::new(), watchers: BTreeMap::new() };
    let mut wakeup = Wakeup::Announced;
    loop {
        match wakeup {
            Wakeup::Announced => watchers.announced(&mut announced),
            Wakeup::KeepersChanged => watchers.keepers_changed(),
            Wakeup::Silent => watchers.wake_silent(),
            Wakeup::SchedulerStarted => watchers.all(|| EndpointMessage::Again),
            Wakeup::Over => return Ok(()),
        }
        wakeup = tokio::select! {
            changed = announced.changed() => if changed.is_ok() { Wakeup::Announced } else { Wakeup::Over },
            () = changed(keepers.as_mut()) => Wakeup::KeepersChanged,
            () = changed(silent.as_mut()) => Wakeup::Silent,
            () = started(&mut starts) => Wakeup::SchedulerStarted,
        };
    }
}

/// Resolves when the value changes; never where there is none, or when its sender is gone.
async fn changed<T>(receiver: Option<&mut watch::Receiver<T>>) {
    if let Some(receiver) = receiver
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Resolves when a scheduler started.
async fn started(starts: &mut SchedulerStarts) {
    if !starts.next().await {
        std::future::pending().await
    }
}

// === impl Watchers ===

impl Watchers {
    fn announced(&mut self, announced: &mut Known) {
        let Some(announced) = announced.borrow_and_update().clone() else { return };
        self.arguments.scheduler.announced();
        for change in changes(&mut self.endpoints, &announced.endpoints) {
            match change {
                EndpointChange::Remove(id) => drop(self.watchers.remove(&id.key())),
                EndpointChange::Upsert(endpoint) => self.watch(&endpoint),
            }
        }
        self.record_keeping();
        let synced = !announced.withdrawn;
        self.arguments.readiness.send_if_modified(|is| std::mem::replace(&mut is.synced, synced) != synced);
    }

    fn keepers_changed(&self) {
        self.all(|| EndpointMessage::Wake);
        self.record_keeping();
    }

    fn wake_silent(&self) {
        let Some(keeping) = &self.arguments.keeping else { return };
        let silent = keeping.silent().borrow().clone();
        for watcher in silent.keys().filter_map(|key| self.watchers.get(key)) {
            if keeping.must_watch(watcher.endpoint.key(), &watcher.zone, self.arguments.interval) {
                watcher.send(EndpointMessage::Wake);
            }
        }
    }

    fn all(&self, message: impl Fn() -> EndpointMessage) {
        self.watchers.values().for_each(|watcher| watcher.send(message()));
    }

    /// Watches the current `endpoint`, where its kind of engine is known.
    fn watch(&mut self, endpoint: &Endpoint) {
        // Ends the former watcher first, so that no endpoint has two.
        drop(self.watchers.remove(&endpoint.id.key()));
        let Some(arguments) = self.actor_arguments(endpoint) else { return };
        let (actor, zone) = (ActorSlot::default(), arguments.zone.clone());
        let slot = actor.clone();
        let part = self.arguments.supervisor.tolerated(format!("endpoint {}", endpoint.id), move || {
            let (arguments, slot) = (arguments.clone(), slot.clone());
            async move { live(EndpointActor, arguments, |actor| put(&slot, actor)).await }
        });
        let watcher = Watcher { endpoint: endpoint.id.clone(), zone, actor, _part: part };
        self.watchers.insert(endpoint.id.key(), watcher);
    }

    fn actor_arguments(&self, endpoint: &Endpoint) -> Option<EndpointArguments> {
        let pool = &self.arguments;
        let spec = pool.engines.spec_for(&endpoint.labels)?;
        Some(EndpointArguments {
            endpoint: endpoint.id.clone(),
            slot_key: slot_key(&pool.pool, &endpoint.id),
            metrics: SocketAddr::new(endpoint.address.ip(), pool.scrape.port.unwrap_or(endpoint.address.port())),
            path: pool.scrape.path.clone(),
            interval: pool.interval,
            spec: spec.clone(),
            scheduler: pool.scheduler.clone(),
            telemetry: pool.telemetry.clone(),
            zone: zone_of(endpoint),
            clock: pool.clock,
            network: pool.network.clone(),
            keeping: pool.keeping.clone(),
        })
    }

    /// Records how many endpoints this replica keeps.
    fn record_keeping(&self) {
        let Some(keeping) = &self.arguments.keeping else { return };
        let kept = self.endpoints.values().filter(|e| keeping.keeps(e.id.key(), &zone_of(e))).count();
        self.arguments.telemetry.record(&Event::Keeping { kept, of: self.endpoints.len() });
    }
}

// === impl Watcher ===

impl Watcher {
    /// Posts `message`. A restarting actor needs none, because it scrapes when it starts.
    fn send(&self, message: EndpointMessage) {
        if let Some(actor) = &*self.actor.lock().unwrap_or_else(PoisonError::into_inner) {
            drop(actor.cast(message));
        }
    }
}

fn put(slot: &ActorSlot, actor: ActorRef<EndpointMessage>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(actor);
}

/// The endpoint's zone; empty without a zone label.
fn zone_of(endpoint: &Endpoint) -> String {
    endpoint.labels.get(ZONE_LABEL).cloned().unwrap_or_default()
}

#[cfg(test)]
#[path = "watchers_tests.rs"]
mod tests;
