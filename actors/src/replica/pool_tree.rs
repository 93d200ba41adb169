//! One pool of a replica, as a subtree of its own: scheduler, watchers of its endpoints, discovery, and its ext-proc
//! server.
//!
//! Must not know other pools. Two pools share the process, its certificate, the lanes to peers, the salt that the tier
//! agrees on and the pages, and nothing else. Each has a supervisor of its own, so a part that restarts takes only its
//! own pool out of service. A vital part that is given up ends the replica, with all of its pools.

use std::net::SocketAddr;
use std::sync::Arc;

use murmuration::config::blueprint::{Blueprint, Parser};
use murmuration::fleet::TrustAges;
use murmuration::id::PoolId;
use murmuration::scheduler::SchedulerSettings;
use tokio::sync::watch;

use super::parts;
use super::settings::ReplicaSettings;
use crate::admin::{MetricsAccess, Readiness};
use crate::clock::Clock;
use crate::connection::EventSink;
use crate::environment::{Feed, Listener, Network, PeerFeed};
use crate::ext_proc::{PromptSalt, Settings};
use crate::kubernetes::{self, KubernetesSettings, Reviewer, Source};
use crate::pool::{self, PoolArguments};
use crate::prepare::Renderer;
use crate::replication::{self, Keeping, PoolLinks, Publisher};
use crate::scheduler::{Known, SchedulerArguments, SchedulerHandle};
use crate::supervise::{Ended, Supervisor};
use crate::telemetry::Telemetry;
use crate::tls::ServerTls;

/// A pool to serve: its configuration, and where its requests arrive.
#[derive(Debug)]
pub struct PoolSource {
    /// Its name.
    pub id: PoolId,
    /// Its EndpointPickerConfig.
    pub config_text: String,
    /// The name under which errors in it are reported.
    pub config_name: String,
    /// The key under which its prompts are hashed.
    pub salt: PromptSalt,
    /// Where its endpoints come from; `None` where its configuration says it.
    pub source: Option<Source>,
    /// Where its requests arrive.
    pub ext_proc: Listener,
}

/// What a pool uses of its replica.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) supervisor: Supervisor,
    pub(super) readiness: Arc<watch::Sender<Readiness>>,
    pub(super) telemetry: Telemetry,
    pub(super) clock: Clock,
    pub(super) network: Arc<dyn Network>,
    /// The Kubernetes API, where it is watched.
    pub(super) api: Option<kube::Client>,
}

/// A pool that is served. Dropping it stops its parts.
#[derive(Debug)]
pub(super) struct PoolTree {
    pub(super) id: PoolId,
    pub(super) address: SocketAddr,
    pub(super) supervisor: Supervisor,
    pub(super) readiness: Arc<watch::Sender<Readiness>>,
    pub(super) scheduler: SchedulerHandle,
    pub(super) telemetry: Telemetry,
    pub(super) publisher: Option<Publisher>,
    pub(super) keeping: Option<Keeping>,
    gate: Option<Ended>,
}

/// What opens a pool's ext-proc server, once all else runs.
pub(super) struct PendingServer {
    settings: Settings,
    listener: Listener,
    salt: PromptSalt,
    /// What discovery announces, for the rules of models.
    announced: Known,
}

// === impl Shared ===

impl Shared {
    /// What `pool` has for itself where there are several.
    pub(super) fn of_pool(&self, pool: &PoolId, joining: bool) -> Result<Self, prometheus::Error> {
        let telemetry = self.telemetry.of_pool(pool)?;
        let readiness = Arc::new(watch::channel(Readiness { joining, ..Readiness::default() }).0);
        let supervisor = Supervisor::new(self.clock, telemetry.clone(), readiness.clone());
        let (network, api) = (self.network.clone(), self.api.clone());
        Ok(Self { supervisor, readiness, telemetry, clock: self.clock, network, api })
    }

    /// Who may read the metrics: whom the API server allows to, where it is to be asked.
    pub(super) fn scrapers(&self, asked: bool) -> MetricsAccess {
        let api = self.api.clone().filter(|_| asked).map(Reviewer::new);
        api.map_or_else(MetricsAccess::open, |reviewer| MetricsAccess::asking(reviewer, self.telemetry.clone()))
    }

    /// Starts to watch the pods of the tier, where that is asked for.
    pub(super) fn peer_pods(&self, settings: Option<KubernetesSettings>) -> Option<PeerFeed> {
        let pods = settings?.peers?;
        Some(kubernetes::start_peers(&self.supervisor, self.api.clone()?, pods, &self.telemetry))
    }
}

// === impl PoolTree ===

impl PoolTree {
    /// Starts the pool of `settings`, which are those of the replica with the pool's own configuration. Its server is
    /// not open yet.
    pub(super) fn start(
        (id, settings, blueprint): (PoolId, &ReplicaSettings, Blueprint),
        (listener, address): (Listener, SocketAddr),
        shared: Shared,
        feed: Option<Feed>,
    ) -> (Self, PendingServer) {
        let Shared { supervisor, readiness, telemetry, clock, network, api } = shared;
        let (actor, scheduler) = SchedulerHandle::unstarted(settings.limits.decision_timeout);
        let (publisher, keeping) = replication::publisher_and_keeping(settings.replication.as_ref(), &id, clock);
        let (announced, known) = watch::channel(None);
        let (gate, salt) = (gate_settings(settings, &blueprint), settings.salt);
        let server = PendingServer { settings: gate, listener, salt, announced: known.clone() };
        let announced = Arc::new(announced);
        let arguments = SchedulerArguments {
            build: builder(settings),
            clock,
            telemetry: telemetry.clone(),
            handle: scheduler.clone(),
            announced: known.clone(),
            publisher: publisher.clone(),
            keeping: keeping.clone(),
            first_ticket: 0,
        };
        parts::scheduler(&supervisor, arguments, actor);
        let watched = PoolArguments {
            pool: id.clone(),
            announced: known,
            scheduler: scheduler.clone(),
            supervisor: supervisor.clone(),
            readiness: readiness.clone(),
            telemetry: telemetry.clone(),
            clock,
            keeping: keeping.clone(),
            network,
            interval: blueprint.scrape.interval.unwrap_or(settings.interval),
            scrape: blueprint.scrape,
            engines: blueprint.engines,
        };
        supervisor.vital("pool", move || pool::run(watched.clone()));
        parts::discovery(&supervisor, blueprint.discovery, announced.clone(), &telemetry);
        if let Some((api, (source, me))) = api.zip(watched_source(settings)) {
            kubernetes::start_pool(&supervisor, api, (source, me, keeping.clone()), announced.clone(), &telemetry);
        }
        parts::feed(&supervisor, feed, announced);
        let gate = None;
        (Self { id, address, supervisor, readiness, scheduler, telemetry, publisher, keeping, gate }, server)
    }

    /// Opens its ext-proc server. `agreed` is the salt that the tier agrees on, for a pool that was given none.
    pub(super) fn open(
        &mut self,
        server: PendingServer,
        tls: Option<ServerTls>,
        clock: Clock,
        (agreed, closed): (&watch::Receiver<u128>, watch::Receiver<bool>),
    ) {
        let PendingServer { settings, listener, salt, announced } = server;
        let salt = match salt {
            PromptSalt::Given(salt) => watch::channel(salt).1,
            PromptSalt::Agreed(_) => agreed.clone(),
        };
        let (scheduler, telemetry) = (self.scheduler.clone(), self.telemetry.clone());
        let event_sink = event_sink(&self.telemetry, "ext-proc");
        let gate = parts::Gate { scheduler, settings, tls, clock, telemetry, event_sink, salt, announced };
        self.gate = Some(parts::ext_proc(&self.supervisor, gate, listener, closed));
    }

    /// Waits until its server has closed and all its streams have ended.
    pub(super) async fn closed(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.wait().await;
        }
    }

    /// What replication needs of it; `None` without peers.
    pub(super) fn links(&self) -> Option<PoolLinks> {
        Some(PoolLinks {
            publisher: self.publisher.clone()?,
            keeping: self.keeping.clone(),
            scheduler: self.scheduler.clone(),
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
        })
    }
}

impl Drop for PoolTree {
    fn drop(&mut self) {
        self.supervisor.stop_all();
    }
}

/// The sink for events of the connections on `port`.
pub(super) fn event_sink(telemetry: &Telemetry, port: &'static str) -> EventSink {
    let telemetry = telemetry.clone();
    EventSink::new(port, move |event| telemetry.record(event))
}

/// Where the pool's endpoints come from, if it is watched, and the name under which this replica watches.
fn watched_source(settings: &ReplicaSettings) -> Option<(&Source, &str)> {
    let source = settings.kubernetes.as_ref()?.source.as_ref()?;
    Some((source, settings.replication.as_ref().map_or("", |replication| replication.me.0.as_str())))
}

fn gate_settings(settings: &ReplicaSettings, blueprint: &Blueprint) -> Settings {
    let parsers: Vec<Parser> = blueprint.parsers.clone();
    let (limits, response_path, trusted) = (settings.limits, settings.response_path, settings.trusted);
    let (tier_salt, tenant_header) = (settings.salt.first(), settings.tenant_header.clone());
    let (prefix, sessions) = (blueprint.prefix.clone(), blueprint.profiles.sessions());
    let profile_header = blueprint.profiles.profile_header().map(str::to_owned);
    let plugin_headers = blueprint.profiles.reads_headers().to_vec();
    let served_headers = blueprint.profiles.served_headers().map(str::to_owned).collect();
    let renderer = blueprint.renderer.clone().map(Renderer::producer);
    let producers = renderer.into_iter().chain(blueprint.producers.iter().cloned()).collect();
    Settings {
        limits,
        response_path,
        parsers,
        prefix,
        producers,
        tier_salt,
        tenant_header,
        trusted,
        sessions,
        rewrites: None,
        plugin_headers,
        served_headers,
        profile_header,
    }
}

/// Builds the parts of a scheduler for each of its starts: plugins are not shared between starts.
fn builder(settings: &ReplicaSettings) -> crate::scheduler::Build {
    let settings = settings.clone();
    Arc::new(move || {
        let blueprint = murmuration::config::read(&settings.config_text, &settings.config_name, &(settings.catalog)())?;
        let parts = SchedulerSettings {
            prefix: blueprint.prefix,
            in_flight: blueprint.in_flight,
            saturation: blueprint.saturation,
            index_bytes_max: settings.index_bytes_max,
            recent_max: settings.recent_max,
            lease: settings.lease,
            sharing: settings.replication.is_some(),
            trust_ages: TrustAges::of_interval(blueprint.scrape.interval.unwrap_or(settings.interval)),
        };
        Ok((blueprint.profiles, parts))
    })
}
