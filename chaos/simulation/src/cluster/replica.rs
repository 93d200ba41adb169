//! One replica of the cluster over all its starts: the same `Replica::start` as in production, on a host of its own.
//!
//! Must not know why it stops. Peer streams are plain and datagrams unsealed, because keys are files of the real
//! machine.

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
use murmuration::schedule::Stage;
use murmuration_actors::environment::{Announcement, Environment};
use murmuration_actors::replica::{Listeners, Replica};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use tokio::sync::watch;

use super::fault_state::ReplicaFaults;
use super::host::Host;
use super::net::{Net, Places};
use super::recorder::Recorder;
use crate::history::{Fact, Snapshot, Source};
use crate::plan::{ClusterSpec, Part};
use dial::DriftingClock;
pub(super) use settings::{EXT_PROC, config_text};

/// The decision on an undispatched request, once it is made.
pub(super) type Considered = Arc<Mutex<Option<Answer>>>;

/// A decision on an undispatched request.
pub(super) struct Answer {
    /// The endpoint; `None` for a refusal.
    pub(super) to: Option<EndpointId>,
    /// Those that may prefill for it, the best first.
    pub(super) prefill: Vec<EndpointId>,
    /// Blocks of the prompt that it is believed to hold, and all blocks.
    pub(super) matched: (u64, u64),
}

/// The wall clock when a run begins, in Unix milliseconds. A replica takes its incarnation from it, as in production.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// The replica.
pub(super) struct ReplicaHost {
    number: usize,
    cluster: ClusterSpec,
    places: Places,
    net: Net,
    recorder: Recorder,
    running: Option<Running>,
    /// Starts so far.
    starts: u32,
    incarnation: u64,
    /// Milliseconds by which its wall clock was set forward; negative for back.
    stepped_ms: i64,
    wire_version: u16,
    feed: watch::Sender<Option<Announcement>>,
    reloads: i32,
    replica_faults: ReplicaFaults,
}

/// The replica between a start and its stop.
struct Running {
    host: Host,
    slot: Slot,
    left: Arc<AtomicBool>,
    leaving: bool,
    dial: &'static DriftingClock,
}

/// The running replica; empty until it has started, and again once it drains.
type Slot = Arc<Mutex<Option<Result<Replica, String>>>>;

// === impl ReplicaHost ===

impl ReplicaHost {
    /// The replica with this number, not started yet.
    pub(super) fn new(number: usize, cluster: &ClusterSpec, net: &Net, recorder: &Recorder) -> Self {
        Self {
            number,
            cluster: cluster.clone(),
            places: Places::new(cluster),
            net: net.clone(),
            recorder: recorder.clone(),
            running: None,
            starts: 0,
            incarnation: 0,
            stepped_ms: 0,
            wire_version: codec::VERSION.into(),
            feed: watch::channel(None).0,
            reloads: 0,
            replica_faults: ReplicaFaults::default(),
        }
    }

    /// This start of the replica, as the source of entries.
    pub(super) fn source(&self) -> Source {
        Source::Replica(self.number, self.starts.saturating_sub(1))
    }

    /// Applies `replica_faults`, as far as possible at once. A draining replica restarts only after it has stopped.
    pub(super) fn set(&mut self, replica_faults: ReplicaFaults) -> io::Result<()> {
        self.replica_faults = replica_faults;
        if replica_faults.killed && self.running.is_some() {
            self.stop();
        }
        match &mut self.running {
            None if !replica_faults.killed && !replica_faults.drained => self.start()?,
            None => {}
            Some(running) => {
                if replica_faults.drained && !running.leaving {
                    running.leave();
                }
                running.dial.turn(replica_faults.drift_ppm);
            }
        }
        Ok(())
    }

    /// Sets the wire version from the next start on.
    pub(super) fn upgrade(&mut self, wire_version: u16) {
        self.wire_version = wire_version;
    }

    /// Sets the wall clock forward by `ms` milliseconds; back if negative. It is read at the next start.
    pub(super) fn step_clock(&mut self, ms: i64) {
        self.stepped_ms += ms;
    }

    /// Kills one of its parts at once. Does nothing if the replica is stopped or frozen.
    pub(super) fn kill_part(&self, part: &Part) {
        let Some(running) = self.running.as_ref().filter(|_| !self.replica_faults.frozen) else { return };
        let _runtime = running.host.enter();
        let slot = running.slot();
        let Some(Ok(replica)) = &*slot else { return };
        let mut parts = replica.parts();
        parts.sort();
        if let Some(name) = part.of(&parts) {
            replica.kill_part(name);
        }
    }

    /// Announces endpoints to the replica.
    pub(super) fn announce(&self, endpoints: Vec<Endpoint>) {
        let ids = endpoints.iter().map(|endpoint| endpoint.id.clone()).collect();
        let objectives = [("sheddable".to_owned(), -1 - self.reloads)].into();
        self.feed.send_replace(Some(Announcement { endpoints, objectives, ..Announcement::default() }));
        if self.running.is_some() {
            self.recorder.write(self.source(), Fact::Announced(ids));
        }
    }

    /// Changes the objectives and announces them.
    pub(super) fn reload(&mut self) {
        self.reloads += 1;
        let announced = self.feed.borrow().clone();
        if let Some(Announcement { endpoints, .. }) = announced {
            self.announce(endpoints);
        }
    }

    /// Runs it for one tick, unless it is frozen. Once it has drained, stops it and applies the faults in force again.
    ///
    /// # Errors
    /// If it could not start; the reason.
    pub(super) fn tick(&mut self, tick: Duration) -> Result<(), String> {
        let Some(running) = &mut self.running else { return Ok(()) };
        if self.replica_faults.frozen {
            running.host.skip_tick(tick);
            return Ok(());
        }
        running.host.tick(tick);
        if let Some(Err(why)) = &*running.slot() {
            return Err(format!("replica-{} could not start: {why}", self.number));
        }
        if running.left.load(Ordering::Acquire) {
            self.stop();
            return self.set(self.replica_faults).map_err(|why| why.to_string());
        }
        Ok(())
    }

    /// Whether it runs, is not frozen, and reports that it is ready.
    pub(super) fn is_ready(&self) -> bool {
        let Some(running) = self.running.as_ref().filter(|_| !self.replica_faults.frozen) else { return false };
        matches!(&*running.slot(), Some(Ok(replica)) if replica.readiness().borrow().is_ready())
    }

    /// Takes a snapshot, which is recorded within its next tick. Does nothing if it is stopped or frozen.
    pub(super) fn snapshot(&self) {
        let Some(running) = self.running.as_ref().filter(|_| !self.replica_faults.frozen) else { return };
        let slot = running.slot();
        let Some(Ok(replica)) = &*slot else { return };
        let (scheduler, readiness) = (replica.scheduler().clone(), replica.readiness());
        let replication = replica.replication().map(|replication| (replication.view(), replication.gossip_sizes()));
        let (recorder, by) = (self.recorder.clone(), self.source());
        running.host.spawn(async move {
            let (view, gossip) = match replication {
                Some((view, sizes)) => (Some(view), sizes.await),
                None => (None, Default::default()),
            };
            let (Some(digest), Some(fleet)) = (scheduler.digest().await, scheduler.summary().await) else { return };
            let members = view.map(|view| view.members.borrow().clone()).unwrap_or_default();
            let members = members.into_iter().map(|member| (member.replica.0, member.incarnation.0)).collect();
            let ready = readiness.borrow().is_ready();
            recorder.write(by, Fact::SnapshotTaken(Box::new(Snapshot { fleet, members, ready, gossip, digest })));
        });
    }

    /// Asks for a decision that is not dispatched; it is made within the next tick. `None` if the replica is stopped,
    /// frozen, still starting or draining.
    pub(super) fn consider(&self, request: &InferenceRequest) -> Option<Considered> {
        let running = self.running.as_ref().filter(|running| !self.replica_faults.frozen && !running.leaving)?;
        let slot = running.slot();
        let Some(Ok(replica)) = &*slot else { return None };
        let (scheduler, request) = (replica.scheduler().clone(), request.clone());
        let considered = Considered::default();
        let answer = considered.clone();
        running.host.spawn(async move {
            let Some(decision) = scheduler.consider(request).await else { return };
            let decision = decision.ok();
            let prefill = decision.as_ref().and_then(|decision| decision.leg(Stage::Prefill));
            let prefill = prefill.map_or_else(Vec::new, |leg| leg.targets.iter().map(|t| t.endpoint.clone()).collect());
            let target = decision.and_then(|decision| decision.primary().cloned());
            let matched = target
                .as_ref()
                .map_or((0, 0), |target| (u64::from(target.matched.blocks), u64::from(target.matched.of)));
            let decided = Answer { to: target.map(|target| target.endpoint), prefill, matched };
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided);
        });
        Some(considered)
    }

    fn stop(&mut self) {
        // Drop the host first: its tasks must not notice that the replica is dropped.
        if let Some(Running { host, slot, .. }) = self.running.take() {
            drop(host);
            drop(slot);
            self.recorder.write(self.source(), Fact::Stopped);
        }
    }

    fn start(&mut self) -> io::Result<()> {
        let host = Host::new()?;
        if !std::mem::take(&mut self.replica_faults.same_incarnation) || self.incarnation == 0 {
            self.incarnation =
                EPOCH_MS.saturating_add(self.recorder.now().as_millis() as u64).saturating_add_signed(self.stepped_ms);
        }
        self.starts += 1;
        let by = self.source();
        self.recorder.write(by, Fact::Started);
        let runtime = host.enter();
        let dial = DriftingClock::start();
        dial.turn(self.replica_faults.drift_ppm);
        let network = self.net.at(self.places.replica(self.number));
        let environment = Environment {
            network: Arc::new(network.clone()),
            clock: Some(dial.clock()),
            feed: Some(self.feed.subscribe()),
        };
        let listeners = Listeners {
            ext_proc: network.listen(EXT_PROC),
            health: network.listen(settings::HEALTH),
            admin: network.listen(settings::ADMIN),
            peers: self.cluster.peer_streams.then(|| network.listen(settings::PEERS)),
        };
        drop(runtime);
        let settings = settings::settings(
            self.number,
            Incarnation(self.incarnation),
            self.wire_version,
            &self.cluster,
            &self.places,
        );
        let telemetry = Telemetry::new("sim", Tracer::default()).map_err(io::Error::other)?;
        let recorder = self.recorder.clone();
        let telemetry =
            telemetry.with_observer(Arc::new(move |event: &Event| recorder.write(by, Fact::Emitted(event.clone()))));
        let slot = Slot::default();
        let (started, wire) = (slot.clone(), settings::wire(self.wire_version));
        host.spawn(async move {
            let replica = Replica::start(environment, settings, listeners, telemetry).await;
            if let Some(replication) = replica.as_ref().ok().and_then(Replica::replication) {
                replication.update_card(|card| card.wire = wire);
            }
            *lock(&started) = Some(replica.map_err(|why| why.to_string()));
        });
        self.running = Some(Running { host, slot, left: Arc::default(), leaving: false, dial });
        let known = self.feed.borrow().as_ref().map(|said| said.endpoints.iter().map(|e| e.id.clone()).collect());
        known.into_iter().for_each(|ids| self.recorder.write(by, Fact::Announced(ids)));
        Ok(())
    }
}

// === impl Running ===

impl Running {
    fn slot(&self) -> MutexGuard<'_, Option<Result<Replica, String>>> {
        lock(&self.slot)
    }

    /// Drains the replica.
    fn leave(&mut self) {
        // A replica that has not started yet cannot be drained; the next change of faults tries again.
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
