//! The composition root: which parts a replica has, in what order they start, and how it leaves.
//!
//! Must not know flags, signals or the process: `murmuration serve`, tests and the simulator start a replica alike.

mod parts;
mod serving_tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config::blueprint::{Blueprint, Parser};
use murmuration::config::{self, ConfigErrors};
use murmuration::fleet::TrustAges;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::plugin::Catalog;
use murmuration::scheduler::SchedulerSettings;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::admin::{DebugAccess, Pages, Readiness};
use crate::clock::Clock;
use crate::connection::EventSink;
use crate::environment::{Environment, Listener, Network};
pub use crate::ext_proc::PromptSalt;
use crate::ext_proc::{Limits, ResponsePath, Settings, TrustedSpelling};
use crate::pool::{self, PoolArguments};
use crate::replication::{
    self, Keeping, Links, Publisher, Receiver, Replication, ReplicationError, ReplicationSettings,
};
use crate::scheduler::{Known, SchedulerArguments, SchedulerHandle};
use crate::supervise::{Ended, Failed, Supervisor};
use crate::telemetry::Telemetry;
use crate::tls::{ServerTls, TlsError};

pub use serving_tls::Tls;

/// How long a draining replica still takes new streams, so that the proxy's health checks can notice.
const NOTICE_MAX: Duration = Duration::from_secs(5);

/// The settings of a replica.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// The EndpointPickerConfig, valid.
    pub config_text: String,
    /// The name under which errors in it are reported.
    pub config_name: String,
    /// The catalog of plugins.
    pub catalog: fn() -> Catalog,
    /// Interval between two scrapes of an engine, where the configuration does not set it.
    pub interval: Duration,
    /// Interval between two updates of the pool's gauges.
    pub gauges_interval: Duration,
    /// Bounds of the ext-proc service.
    pub limits: Limits,
    /// Who may set the headers that steer a decision.
    pub trusted: TrustedSpelling,
    /// Whether responses pass through.
    pub response_path: ResponsePath,
    /// Memory limit of the prefix index.
    pub index_bytes_max: usize,
    /// How long a ticket may stay open while its end is unknown.
    pub lease: Duration,
    /// TLS of the ext-proc service: none, self-signed, or from a folder.
    pub tls: Tls,
    /// Who may read the debug pages.
    pub debug: DebugAccess,
    /// How long a drain may take.
    pub drain_timeout: Duration,
    /// The key under which prompts are hashed.
    pub salt: PromptSalt,
    /// The header whose value is mixed into the key, for pools that several tenants share.
    pub tenant_header: Option<String>,
    /// Replication; `None` for a replica without peers.
    pub replication: Option<ReplicationSettings>,
}

/// The listeners of a replica.
#[derive(Debug)]
pub struct Listeners {
    /// ext-proc.
    pub ext_proc: Listener,
    /// gRPC health.
    pub health: Listener,
    /// Metrics and debug pages.
    pub admin: Listener,
    /// Peer streams.
    pub peers: Option<Listener>,
}

/// Why a replica can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The certificate can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The replica can't join its peers.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// A socket is closed.
    #[error("a listener has no address: {0}")]
    Listener(#[from] std::io::Error),
}

/// A running replica. Dropping it stops all parts at once, as a kill would.
#[derive(Debug)]
pub struct Replica {
    addresses: Addresses,
    supervisor: Supervisor,
    readiness: Arc<watch::Sender<Readiness>>,
    closing: watch::Sender<bool>,
    gate: Option<Ended>,
    scheduler: SchedulerHandle,
    telemetry: Telemetry,
    drain_timeout: Duration,
    replication: Option<Replication>,
}

/// Where a replica serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// ext-proc.
    pub ext_proc: SocketAddr,
    /// gRPC health.
    pub health: SocketAddr,
    /// Metrics and debug pages.
    pub admin: SocketAddr,
}

// === impl Tls ===

impl Tls {
    fn server(&self) -> Result<Option<ServerTls>, TlsError> {
        Ok(match self {
            Self::Plain => None,
            Self::SelfSigned => Some(ServerTls::self_signed()?),
            Self::Folder(folder) => Some(ServerTls::from_directory(folder)?),
        })
    }
}

// === impl Listeners ===

impl Listeners {
    fn addresses(&self) -> std::io::Result<Addresses> {
        Ok(Addresses {
            ext_proc: self.ext_proc.address()?,
            health: self.health.address()?,
            admin: self.admin.address()?,
        })
    }
}

// === impl Replica ===

impl Replica {
    /// Starts a replica in `environment` on `listeners`. It is ready once discovery has announced the pool.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        environment: Environment,
        settings: ReplicaSettings,
        listeners: Listeners,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        let blueprint = config::read(&settings.config_text, &settings.config_name, &(settings.catalog)())?;
        let tls = settings.tls.server()?;
        let addresses = listeners.addresses()?;
        let clock = environment.clock.unwrap_or_else(Clock::start);
        let (actor, scheduler) = SchedulerHandle::unstarted(settings.limits.decision_timeout);
        let joining = settings.replication.is_some();
        let readiness = Arc::new(watch::channel(Readiness { joining, ..Readiness::default() }).0);
        let supervisor = Supervisor::new(clock, telemetry.clone(), readiness.clone());
        let (publisher, keeping) = replication::publisher_and_keeping(settings.replication.as_ref(), clock);
        let gate_settings = gate_settings(&settings, &blueprint);
        let (announced, known) = watch::channel(None);
        let announced = Arc::new(announced);
        let ((closing, closed), (salted, salt)) = (watch::channel(false), watch::channel(settings.salt.first()));
        // From here on, an early return drops the replica, which stops every part.
        let mut replica = Self {
            addresses,
            supervisor,
            readiness,
            closing,
            gate: None,
            scheduler,
            telemetry,
            drain_timeout: settings.drain_timeout,
            replication: None,
        };
        let arguments = SchedulerArguments {
            build: builder(&settings),
            clock,
            telemetry: replica.telemetry.clone(),
            handle: replica.scheduler.clone(),
            announced: known.clone(),
            publisher: publisher.clone(),
            keeping: keeping.clone(),
            first_ticket: 0,
        };
        parts::scheduler(&replica.supervisor, arguments, actor);
        let scrape = parts::Scrape {
            interval: blueprint.scrape.interval.unwrap_or(settings.interval),
            scrape: blueprint.scrape,
            engines: blueprint.engines,
            network: environment.network.clone(),
        };
        replica.watch(known, keeping.clone(), clock, scrape);
        parts::discovery(&replica.supervisor, blueprint.discovery, announced.clone(), &replica.telemetry);
        parts::feed(&replica.supervisor, environment.feed, announced);
        let me = settings.replication.as_ref().map(|replication| (replication.me.clone(), replication.incarnation));
        if let (Some(replication), Some(publisher)) = (settings.replication, publisher) {
            let (name, outside) = (replication.me.clone(), (clock, environment.network));
            let links = replica.links(name, publisher, keeping, outside, (settings.salt, salted));
            replica.replication = Some(Replication::start(replication, listeners.peers, links).await?);
        }
        replica.open_pages(listeners.health, (listeners.admin, settings.debug), me.unwrap_or_default());
        let view = replica.replication.as_ref().map(Replication::view);
        parts::gauges(&replica.supervisor, settings.gauges_interval, &replica.scheduler, view, &replica.telemetry);
        parts::certificates(&replica.supervisor, settings.tls, tls.clone(), &replica.telemetry);
        let gate = replica.gate(gate_settings, tls, clock, salt);
        replica.gate = Some(parts::ext_proc(&replica.supervisor, gate, listeners.ext_proc, closed));
        Ok(replica)
    }

    /// Where it serves.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The handle of its scheduler.
    pub fn scheduler(&self) -> &SchedulerHandle {
        &self.scheduler
    }

    /// Whether it should receive requests, and changes of that.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Its replication; `None` for a replica without peers.
    pub fn replication(&self) -> Option<&Replication> {
        self.replication.as_ref()
    }

    /// Resolves when a vital part failed too often. The replica keeps serving as far as it can, but is not ready; the
    /// embedding program should stop it.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        self.supervisor.failed()
    }

    /// The names of its parts (see [`crate::supervise`]).
    pub fn parts(&self) -> Vec<String> {
        self.supervisor.names()
    }

    /// Kills a part that runs, as a failure would; `false` when it does not run. For tests and simulations.
    pub fn kill_part(&self, name: &str) -> bool {
        self.supervisor.kill(name)
    }

    /// Drains: not ready at once, and no new streams after a notice period for the proxy. Returns when the open streams
    /// ended, or when the drain timeout is over.
    pub async fn drain(mut self) {
        self.readiness.send_modify(|readiness| readiness.draining = true);
        if let Some(replication) = &self.replication {
            replication.drain();
        }
        let leaving = async {
            sleep(NOTICE_MAX.min(self.drain_timeout / 4)).await;
            self.closing.send_replace(true);
            if let Some(gate) = self.gate.take() {
                gate.wait().await;
            }
        };
        if tokio::time::timeout(self.drain_timeout, leaving).await.is_err() {
            tracing::warn!("streams were still open when the drain's time was over");
        }
        if let Some(replication) = self.replication.take() {
            replication.leave().await;
        }
    }

    fn gate(
        &self,
        settings: Settings,
        tls: Option<ServerTls>,
        clock: Clock,
        salt: watch::Receiver<u128>,
    ) -> parts::Gate {
        let (scheduler, telemetry, event_sink) =
            (self.scheduler.clone(), self.telemetry.clone(), self.event_sink("ext-proc"));
        parts::Gate { scheduler, settings, tls, clock, telemetry, event_sink, salt }
    }

    /// Starts the part that watches the announced endpoints.
    fn watch(&self, announced: Known, keeping: Option<Keeping>, clock: Clock, scrape: parts::Scrape) {
        let parts::Scrape { interval, scrape, engines, network } = scrape;
        let watched = PoolArguments {
            announced,
            scheduler: self.scheduler.clone(),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            telemetry: self.telemetry.clone(),
            clock,
            keeping,
            network,
            interval,
            scrape,
            engines,
        };
        self.supervisor.vital("pool", move || pool::run(watched.clone()));
    }

    fn links(
        &self,
        me: ReplicaId,
        publisher: Publisher,
        keeping: Option<Keeping>,
        outside: (Clock, Arc<dyn Network>),
        (salt, salted): (PromptSalt, watch::Sender<u128>),
    ) -> Links {
        Links {
            receiver: Receiver::new(me, self.scheduler.clone(), self.telemetry.clone()).upto(publisher.version()),
            publisher,
            keeping,
            clock: outside.0,
            network: outside.1,
            scheduler: self.scheduler.clone(),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            salt: salt.drawn().zip(Some(salted)),
        }
    }

    fn open_pages(&self, health: Listener, admin: (Listener, DebugAccess), me: (ReplicaId, Incarnation)) {
        parts::health(&self.supervisor, health, self.readiness.subscribe(), self.event_sink("health"));
        let pages = Pages {
            telemetry: self.telemetry.clone(),
            scheduler: self.scheduler.clone(),
            readiness: self.readiness.subscribe(),
            me,
            replication: self.replication.as_ref().map(Replication::view),
        };
        parts::admin(&self.supervisor, admin, pages, self.event_sink("admin"));
    }

    /// The sink for events of the connections on `port`.
    fn event_sink(&self, port: &'static str) -> EventSink {
        let telemetry = self.telemetry.clone();
        EventSink::new(port, move |event| telemetry.record(event))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.supervisor.stop_all();
    }
}

fn gate_settings(settings: &ReplicaSettings, blueprint: &Blueprint) -> Settings {
    let parsers: Vec<Parser> = blueprint.parsers.clone();
    let (limits, response_path, trusted) = (settings.limits, settings.response_path, settings.trusted);
    let (tier_salt, tenant_header) = (settings.salt.first(), settings.tenant_header.clone());
    let (prefix, sessions) = (blueprint.prefix.clone(), blueprint.profiles.sessions());
    let renderer = blueprint.renderer.clone();
    Settings { limits, response_path, parsers, prefix, renderer, tier_salt, tenant_header, trusted, sessions }
}

/// Builds the parts of a scheduler for each of its starts: plugins are not shared between starts.
fn builder(settings: &ReplicaSettings) -> crate::scheduler::Build {
    let settings = settings.clone();
    Arc::new(move || {
        let blueprint = config::read(&settings.config_text, &settings.config_name, &(settings.catalog)())?;
        let parts = SchedulerSettings {
            prefix: blueprint.prefix,
            in_flight: blueprint.in_flight,
            saturation: blueprint.saturation,
            index_bytes_max: settings.index_bytes_max,
            lease: settings.lease,
            sharing: settings.replication.is_some(),
            trust_ages: TrustAges::of_interval(blueprint.scrape.interval.unwrap_or(settings.interval)),
        };
        Ok((blueprint.profiles, parts))
    })
}
