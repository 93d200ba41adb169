//! One replica of the town over all its lives: the same `Replica::start` as production, on a machine of its own.
//!
//! Must not know why it dies. Peer streams are plain and datagrams unsealed: keys are files, and files are the machine's.

mod dial;
mod settings;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::fleet::Endpoint;
use murmuration::id::{EndpointId, Incarnation};
use murmuration::replication::codec;
use murmuration::request::InferenceRequest;
use murmuration_actors::environment::{Announcement, Environment};
use murmuration_actors::replica::{Listeners, Replica};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use tokio::sync::watch;

use super::host::Host;
use super::net::{Net, Places};
use super::scribe::Scribe;
use super::weather::Sky;
use crate::chronicle::{Fact, Look, Witness};
use crate::plan::{Part, Town};
use dial::Dial;
pub(super) use settings::{EXT_PROC, config_text};

/// What a replica would answer, once it has: where to, and blocks matched of blocks.
pub(super) type Considered = Arc<Mutex<Option<(Option<EndpointId>, (u64, u64))>>>;

/// What a wall clock says when a run begins, in milliseconds: a replica takes its incarnation from it, as in production.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The replica.
pub(super) struct Resident {
    number: usize,
    town: Town,
    places: Places,
    net: Net,
    scribe: Scribe,
    life: Option<Life>,
    lives: u32,
    incarnation: u64,
    /// Milliseconds by which its wall clock was set forward.
    stepped_ms: i64,
    wire_version: u16,
    feed: watch::Sender<Option<Announcement>>,
    reloads: i32,
    sky: Sky,
}

/// One life.
struct Life {
    host: Host,
    slot: Slot,
    left: Arc<AtomicBool>,
    leaving: bool,
    dial: &'static Dial,
}

/// Where the living replica is, once it was started and until it leaves.
type Slot = Arc<Mutex<Option<Result<Replica, String>>>>;

// === impl Resident ===

impl Resident {
    /// The replica of this number, not born yet.
    pub(super) fn new(number: usize, town: &Town, net: &Net, scribe: &Scribe) -> Self {
        Self {
            number,
            town: town.clone(),
            places: Places::new(town),
            net: net.clone(),
            scribe: scribe.clone(),
            life: None,
            lives: 0,
            incarnation: 0,
            stepped_ms: 0,
            wire_version: codec::VERSION.into(),
            feed: watch::channel(None).0,
            reloads: 0,
            sky: Sky::default(),
        }
    }

    /// Who it is, as a witness.
    pub(super) fn witness(&self) -> Witness {
        Witness::Replica(self.number, self.lives.saturating_sub(1))
    }

    /// Makes it so, as far as it can be at once.
    pub(super) fn set(&mut self, sky: Sky) -> io::Result<()> {
        self.sky = sky;
        if sky.killed && self.life.is_some() {
            self.die();
        }
        match &mut self.life {
            None if !sky.killed && !sky.drained => self.be_born()?,
            None => {}
            Some(life) => {
                if sky.drained && !life.leaving {
                    life.leave();
                }
                life.dial.turn(sky.drift_ppm);
            }
        }
        Ok(())
    }

    /// It speaks this wire version from its next life.
    pub(super) fn upgrade(&mut self, wire_version: u16) {
        self.wire_version = wire_version;
    }

    /// Its wall clock is set forward by so many milliseconds, or back; it is read when a life begins.
    pub(super) fn step_clock(&mut self, ms: i64) {
        self.stepped_ms += ms;
    }

    /// Ends one of its parts at once. Whoever is dead or stands still has none.
    pub(super) fn kill_part(&self, part: &Part) {
        let Some(life) = self.life.as_ref().filter(|_| !self.sky.frozen) else { return };
        let _runtime = life.host.enter();
        let slot = life.slot();
        let Some(Ok(replica)) = &*slot else { return };
        let mut parts = replica.parts();
        parts.sort();
        if let Some(name) = part.of(&parts) {
            replica.kill_part(name);
        }
    }

    /// Discovery says so.
    pub(super) fn announce(&self, endpoints: Vec<Endpoint>) {
        let ids = endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
        let objectives = [("sheddable".to_owned(), -1 - self.reloads)].into();
        self.feed.send_replace(Some(Announcement { endpoints, objectives }));
        if self.life.is_some() {
            self.scribe.write(self.witness(), Fact::Announced(ids));
        }
    }

    /// Its objectives are other ones, and are read again.
    pub(super) fn reload(&mut self) {
        self.reloads += 1;
        let announced = self.feed.borrow().clone();
        if let Some(Announcement { endpoints, .. }) = announced {
            self.announce(endpoints);
        }
    }

    /// Lets it run for one tick, unless it stands still; what should be is made so when it can.
    ///
    /// # Errors
    /// Why it could not be started.
    pub(super) fn tick(&mut self, tick: Duration) -> Result<(), String> {
        let Some(life) = &mut self.life else { return Ok(()) };
        if self.sky.frozen {
            life.host.stand_still(tick);
            return Ok(());
        }
        life.host.tick(tick);
        if let Some(Err(why)) = &*life.slot() {
            return Err(format!("replica-{} could not start: {why}", self.number));
        }
        if life.left.load(Ordering::Acquire) {
            self.die();
            return self.set(self.sky).map_err(|why| why.to_string());
        }
        Ok(())
    }

    /// Whether it says that it is ready, and can be heard to.
    pub(super) fn is_ready(&self) -> bool {
        let Some(life) = self.life.as_ref().filter(|_| !self.sky.frozen) else { return false };
        matches!(&*life.slot(), Some(Ok(replica)) if replica.readiness().borrow().is_ready())
    }

    /// Looks at it; what is seen is written within its next tick.
    pub(super) fn look(&self) {
        let Some(life) = self.life.as_ref().filter(|_| !self.sky.frozen) else { return };
        let slot = life.slot();
        let Some(Ok(replica)) = &*slot else { return };
        let (scheduler, readiness) = (replica.scheduler().clone(), replica.readiness());
        let replication = replica.replication().map(|replication| (replication.view(), replication.gossip_sizes()));
        let (scribe, by) = (self.scribe.clone(), self.witness());
        life.host.spawn(async move {
            let (view, gossip) = match replication {
                Some((view, sizes)) => (Some(view), sizes.await),
                None => (None, Default::default()),
            };
            let (Some(digest), Some(fleet)) = (scheduler.digest().await, scheduler.summary().await) else { return };
            let members = view.map(|view| view.members.borrow().clone()).unwrap_or_default();
            let members = members.into_iter().map(|member| (member.replica.0, member.incarnation.0)).collect();
            let ready = readiness.borrow().is_ready();
            scribe.write(by, Fact::Looked(Box::new(Look { fleet, members, ready, gossip, digest })));
        });
    }

    /// Asks what it would answer, within its next tick; `None` when there is nobody to ask.
    pub(super) fn consider(&self, request: &InferenceRequest) -> Option<Considered> {
        let life = self.life.as_ref().filter(|life| !self.sky.frozen && !life.leaving)?;
        let slot = life.slot();
        let Some(Ok(replica)) = &*slot else { return None };
        let (scheduler, request) = (replica.scheduler().clone(), request.clone());
        let considered = Considered::default();
        let answer = considered.clone();
        life.host.spawn(async move {
            let Some(decision) = scheduler.consider(request).await else { return };
            let target = decision.ok().and_then(|decision| decision.primary().cloned());
            let matched = target
                .as_ref()
                .map_or((0, 0), |target| (u64::from(target.matched.blocks), u64::from(target.matched.of)));
            let told = (target.map(|target| target.endpoint), matched);
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        });
        Some(considered)
    }

    fn die(&mut self) {
        // The machine first: nothing on it may notice that the replica is dropped.
        if let Some(Life { host, slot, .. }) = self.life.take() {
            drop(host);
            drop(slot);
            self.scribe.write(self.witness(), Fact::Gone);
        }
    }

    fn be_born(&mut self) -> io::Result<()> {
        let host = Host::new()?;
        if !std::mem::take(&mut self.sky.same_life) || self.incarnation == 0 {
            self.incarnation =
                EPOCH_MS.saturating_add(self.scribe.now().as_millis() as u64).saturating_add_signed(self.stepped_ms);
        }
        self.lives += 1;
        let by = self.witness();
        self.scribe.write(by, Fact::Born);
        let runtime = host.enter();
        let dial = Dial::start();
        dial.turn(self.sky.drift_ppm);
        let socketry = self.net.at(self.places.replica(self.number));
        let world = Environment {
            network: Arc::new(socketry.clone()),
            clock: Some(dial.clock()),
            feed: Some(self.feed.subscribe()),
        };
        let listeners = Listeners {
            ext_proc: socketry.listen(EXT_PROC),
            health: socketry.listen(settings::HEALTH),
            admin: socketry.listen(settings::ADMIN),
            peers: self.town.peer_streams.then(|| socketry.listen(settings::PEERS)),
        };
        drop(runtime);
        let settings =
            settings::settings(self.number, Incarnation(self.incarnation), self.wire_version, &self.town, &self.places);
        let telemetry = Telemetry::new("sim", Tracer::default()).map_err(io::Error::other)?;
        let scribe = self.scribe.clone();
        let telemetry =
            telemetry.with_observer(Arc::new(move |event: &Event| scribe.write(by, Fact::Told(event.clone()))));
        let slot = Slot::default();
        let (started, wire) = (slot.clone(), settings::wire(self.wire_version));
        host.spawn(async move {
            let replica = Replica::start(world, settings, listeners, telemetry).await;
            if let Some(replication) = replica.as_ref().ok().and_then(Replica::replication) {
                replication.update_card(|card| card.wire = wire);
            }
            *lock(&started) = Some(replica.map_err(|why| why.to_string()));
        });
        self.life = Some(Life { host, slot, left: Arc::default(), leaving: false, dial });
        let known = self.feed.borrow().as_ref().map(|said| said.endpoints.iter().map(|e| e.id.clone()).collect());
        known.into_iter().for_each(|ids| self.scribe.write(by, Fact::Announced(ids)));
        Ok(())
    }
}

// === impl Life ===

impl Life {
    fn slot(&self) -> MutexGuard<'_, Option<Result<Replica, String>>> {
        lock(&self.slot)
    }

    /// Leaves in order.
    fn leave(&mut self) {
        // Whoever has not started yet can't hear that it shall leave, and is asked again.
        let Some(Ok(replica)) = self.slot().take() else { return };
        self.leaving = true;
        let left = self.left.clone();
        self.host.spawn(async move {
            replica.drain().await;
            left.store(true, Ordering::Release);
        });
    }
}

fn lock(slot: &Slot) -> MutexGuard<'_, Option<Result<Replica, String>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
