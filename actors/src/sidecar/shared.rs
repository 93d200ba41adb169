//! What all requests of a sidecar share: settings, clients of engines, the list of targets, and a place for events.
//!
//! Must not know a request's way through the sidecar.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use murmuration::event::{Event, SidecarEvent};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::allow_list::AllowList;
use super::client::EngineClient;
use super::leg_tls::client_config;
use super::settings::{LegTls, SidecarError, SidecarSettings};
use super::target::Target;
use super::versions::Versions;
use crate::environment::Network;
use crate::ext_proc::id_generator::{IdGenerator, uuid};
use crate::telemetry::Telemetry;

/// The most prefill engines whose ids are remembered.
const ENGINES_MAX: usize = 4_096;

/// The shared parts.
pub(super) struct Shared {
    pub(super) settings: SidecarSettings,
    pub(super) prefill: EngineClient,
    pub(super) decode: EngineClient,
    pub(super) encode: EngineClient,
    /// Of Mooncake's bootstrap servers, which speak plain HTTP whatever their engines speak.
    pub(super) bootstrap: EngineClient,
    /// Room for the bodies of requests; a permit is a byte.
    pub(super) memory: Arc<Semaphore>,
    pub(super) ids: IdGenerator,
    pub(super) versions: Versions,
    /// The targets that headers may name.
    pub(super) allowed: AllowList,
    telemetry: Telemetry,
    /// The id under which each prefill engine answered last.
    engines: Mutex<BTreeMap<Target, String>>,
}

/// Measures a leg. One that is dropped before its end was cancelled.
pub(super) struct LegTimer {
    shared: Arc<Shared>,
    connector: &'static str,
    stage: &'static str,
    target: String,
    since: Instant,
    ended: bool,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(
        settings: SidecarSettings,
        network: &Arc<dyn Network>,
        allowed: AllowList,
        telemetry: Telemetry,
    ) -> Result<Self, SidecarError> {
        let client = |leg: LegTls| {
            let tls = client_config(leg, &settings.authorities).map_err(SidecarError::Legs)?;
            let (connect, idle) = (settings.deadlines.connect, settings.limits.idle_per_host);
            Ok::<_, SidecarError>(EngineClient::new(network.clone(), connect, idle, tls))
        };
        let [prefill, decode, encode] = settings.legs.map(client);
        let (prefill, decode, encode, bootstrap) = (prefill?, decode?, encode?, client(LegTls::Off)?);
        let memory = Arc::new(Semaphore::new(settings.limits.body_memory.min(Semaphore::MAX_PERMITS)));
        let (ids, versions, engines) = (IdGenerator::default(), Versions::default(), Mutex::default());
        Ok(Self { settings, prefill, decode, encode, bootstrap, memory, ids, versions, allowed, telemetry, engines })
    }

    pub(super) fn emit(&self, event: SidecarEvent) {
        self.telemetry.record(&Event::Sidecar(event));
    }

    /// A new id, as a UUID.
    pub(super) fn id(&self) -> String {
        uuid(self.ids.generate())
    }

    /// Those of `targets` that a header may name. Each other one is reported.
    pub(super) fn allowed(&self, stage: &'static str, targets: Vec<Target>) -> Vec<Target> {
        let (allowed, refused): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| self.allowed.allows(target));
        for target in refused {
            self.emit(SidecarEvent::TargetRefused { stage, target: target.to_string() });
        }
        allowed
    }

    /// Notes the id under which a prefill engine answered. Another one than before is another process.
    pub(super) fn answered_as(&self, target: &Target, engine: &str) {
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if engines.get(target).is_some_and(|known| known == engine) {
            return;
        }
        if engines.len() >= ENGINES_MAX && !engines.contains_key(target) {
            engines.pop_first();
        }
        let restarted = engines.insert(target.clone(), engine.to_owned()).is_some();
        drop(engines);
        if restarted {
            self.emit(SidecarEvent::PrefillerRestarted { target: target.to_string() });
        }
    }
}

// === impl LegTimer ===

impl LegTimer {
    pub(super) fn start(shared: &Arc<Shared>, connector: &'static str, stage: &'static str, target: &Target) -> Self {
        let (shared, target) = (shared.clone(), target.to_string());
        Self { shared, connector, stage, target, since: Instant::now(), ended: false }
    }

    pub(super) fn end(mut self, outcome: &'static str) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: &'static str) {
        self.ended = true;
        let (connector, stage, took) = (self.connector, self.stage, self.since.elapsed());
        let target = std::mem::take(&mut self.target);
        self.shared.emit(SidecarEvent::LegEnded { connector, stage, target, outcome, took });
    }
}

impl Drop for LegTimer {
    fn drop(&mut self) {
        if !self.ended {
            self.report("cancelled");
        }
    }
}
