//! The composition root: which parts a replica has, in what order they start, and how it leaves.
//!
//! Must not know flags, signals or the process: `murmuration serve`, tests and the simulator start a replica alike.

mod merged_readiness;
mod parts;
mod pool_tree;
mod serving_tls;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::config;
use murmuration::config::blueprint::Blueprint;
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::scheduler::recent::each_keeps;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::admin::{DebugAccess, HealthService, MetricsAccess, Pages, PoolPages, Readiness};
use crate::clock::Clock;
use crate::environment::{Environment, Listener};
pub use crate::ext_proc::PromptSalt;
use crate::kubernetes::KubernetesSettings;
use crate::replication::{Links, Receiver, Replication, ReplicationView};
use crate::scheduler::SchedulerHandle;
use crate::supervise::{Failed, Supervisor};
use crate::telemetry::Telemetry;
use merged_readiness::merged;
pub(crate) use parts::certificates;
pub use pool_tree::PoolSource;
use pool_tree::{PoolTree, Shared, event_sink};
pub use settings::{Listeners, ReplicaSettings, StartError};

pub use serving_tls::Tls;

/// How long a draining replica still takes new streams, so that the proxy's health checks can notice.
const NOTICE_MAX: Duration = Duration::from_secs(5);

/// The pools of a replica.
#[derive(Debug, Default)]
pub struct Pools {
    /// The name of the pool that the replica's settings and listeners describe.
    pub first: PoolId,
    /// Further pools.
    pub further: Vec<PoolSource>,
}

/// A running replica. Dropping it stops all parts at once, as a kill would.
#[derive(Debug)]
pub struct Replica {
    addresses: Addresses,
    supervisor: Supervisor,
    /// What concerns all pools.
    readiness: Arc<watch::Sender<Readiness>>,
    /// The replica's as a whole: ready while all pools are.
    overall: watch::Receiver<Readiness>,
    closing: watch::Sender<bool>,
    first: PoolTree,
    further: Vec<PoolTree>,
    telemetry: Telemetry,
    drain_timeout: Duration,
    replication: Option<Replication>,
}

/// Where a replica serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// ext-proc of the first pool.
    pub ext_proc: SocketAddr,
    /// gRPC health.
    pub health: SocketAddr,
    /// Metrics and debug pages.
    pub admin: SocketAddr,
}

/// A pool whose configuration is valid.
struct Planned {
    id: PoolId,
    /// Those of the replica, with the pool's own configuration.
    settings: ReplicaSettings,
    blueprint: Blueprint,
    listener: Listener,
    address: SocketAddr,
}

// === impl Replica ===

impl Replica {
    /// Starts a replica of the default pool in `environment` on `listeners`. It is ready once discovery has announced
    /// the pool.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        environment: Environment,
        settings: ReplicaSettings,
        listeners: Listeners,
        telemetry: Telemetry,
    ) -> Result<Self, StartError> {
        Self::start_pools(environment, settings, listeners, telemetry, Pools::default()).await
    }

    /// Starts a replica of these pools. The environment's feed, if it has one, announces the first pool. The limits of
    /// `settings` hold for each pool.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start_pools(
        environment: Environment,
        settings: ReplicaSettings,
        listeners: Listeners,
        telemetry: Telemetry,
        pools: Pools,
    ) -> Result<Self, StartError> {
        let Listeners { ext_proc, health, admin, peers } = listeners;
        let (first, planned) = planned(&settings, pools, ext_proc)?;
        let tls = settings.tls.server()?;
        let addresses = Addresses { ext_proc: first.address, health: health.address()?, admin: admin.address()? };
        let clock = environment.clock.unwrap_or_else(Clock::start);
        let (joining, alone) = (settings.replication.is_some(), planned.is_empty());
        // One pool alone is the replica: it shares the supervisor and the readiness.
        let own = Readiness { joining: joining && alone, synced: !alone, ..Readiness::default() };
        let readiness = Arc::new(watch::channel(own).0);
        let supervisor = Supervisor::new(clock, telemetry.clone(), readiness.clone());
        let network = environment.network;
        let api = settings.kubernetes.as_ref().map(|kubernetes| kubernetes.api.client()).transpose()?;
        let process = Shared { supervisor, readiness, telemetry, clock, network, api };
        let start = |Planned { id, settings, blueprint, listener, address }: Planned, feed| {
            let shared = if alone { process.clone() } else { process.of_pool(&id, joining)? };
            Ok::<_, StartError>(PoolTree::start((id, &settings, blueprint), (listener, address), shared, feed))
        };
        let (first, server) = start(first, environment.feed)?;
        let mut servers = vec![server];
        let mut further = Vec::new();
        for planned in planned {
            let (tree, server) = start(planned, None)?;
            further.push(tree);
            servers.push(server);
        }
        let (closing, closed) = watch::channel(false);
        let (salted, salt) = watch::channel(settings.salt.first());
        let trees = || std::iter::once(&first).chain(&further).map(|pool| pool.readiness.subscribe());
        let overall = if alone {
            process.readiness.subscribe()
        } else {
            merged(&process.supervisor, "readiness", trees().chain([process.readiness.subscribe()]).collect())
        };
        // From here on, an early return drops the replica, which stops every part.
        let mut replica = Self {
            addresses,
            supervisor: process.supervisor.clone(),
            readiness: process.readiness.clone(),
            overall,
            closing,
            first,
            further,
            telemetry: process.telemetry.clone(),
            drain_timeout: settings.drain_timeout,
            replication: None,
        };
        let me = settings.replication.as_ref().map(|replication| (replication.me.clone(), replication.incarnation));
        if let Some(replication) = settings.replication {
            let salt = settings.salt.drawn().zip(Some(salted));
            let found = process.peer_pods(settings.kubernetes);
            let mut links = replica.links(replication.me.clone(), replication.wire_version_max, &process, salt);
            links.found = found;
            replica.replication = Some(Replication::start(replication, peers, links).await?);
        }
        let scrapers = process.scrapers(settings.metrics_auth);
        replica.open_pages(health, (admin, settings.debug, scrapers), me.unwrap_or_default());
        replica.show_gauges(settings.gauges_interval);
        parts::certificates(&replica.supervisor, settings.tls, tls.clone(), &replica.telemetry);
        for (pool, server) in std::iter::once(&mut replica.first).chain(&mut replica.further).zip(servers) {
            pool.open(server, tls.clone(), clock, (&salt, closed.clone()));
        }
        Ok(replica)
    }

    /// Where it serves.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// The handle of the first pool's scheduler.
    pub fn scheduler(&self) -> &SchedulerHandle {
        &self.first.scheduler
    }

    /// The handle of a pool's scheduler; `None` for a pool that is not served.
    pub fn scheduler_of(&self, pool: &PoolId) -> Option<&SchedulerHandle> {
        self.pools().find(|tree| tree.id == *pool).map(|tree| &tree.scheduler)
    }

    /// The pools and where their requests arrive, the first one first.
    pub fn served(&self) -> Vec<(PoolId, SocketAddr)> {
        self.pools().map(|pool| (pool.id.clone(), pool.address)).collect()
    }

    /// Whether it should receive requests, and changes of that.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.overall.clone()
    }

    /// Its replication; `None` for a replica without peers.
    pub fn replication(&self) -> Option<&Replication> {
        self.replication.as_ref()
    }

    /// Resolves when a vital part failed too often. The replica keeps serving as far as it can, but is not ready; the
    /// embedding program should stop it.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        let mut failures: Vec<_> =
            self.supervisors().map(|(pool, supervisor)| (pool.cloned(), Box::pin(supervisor.failed()))).collect();
        std::future::poll_fn(move |cx| {
            for (pool, failure) in &mut failures {
                if let std::task::Poll::Ready(failed) = failure.as_mut().poll(cx) {
                    return std::task::Poll::Ready(Failed { part: part_of(pool.as_ref(), &failed.part), ..failed });
                }
            }
            std::task::Poll::Pending
        })
    }

    /// The names of its parts (see [`crate::supervise`]); with the pool's name before them where there are several.
    pub fn parts(&self) -> Vec<String> {
        let names = |(pool, supervisor): (Option<&PoolId>, &Supervisor)| {
            let names = supervisor.names().into_iter();
            names.map(|name| part_of(pool, &name)).collect::<Vec<_>>()
        };
        self.supervisors().flat_map(names).collect()
    }

    /// Kills a part that runs, as a failure would; `false` when it does not run. For tests and simulations.
    pub fn kill_part(&self, name: &str) -> bool {
        self.supervisors().any(|(pool, supervisor)| {
            let own = supervisor.names().into_iter().find(|own| part_of(pool, own) == name);
            own.is_some_and(|own| supervisor.kill(&own))
        })
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
            for pool in std::iter::once(&mut self.first).chain(&mut self.further) {
                pool.closed().await;
            }
        };
        if tokio::time::timeout(self.drain_timeout, leaving).await.is_err() {
            tracing::warn!("streams were still open when the drain's time was over");
        }
        if let Some(replication) = self.replication.take() {
            replication.leave().await;
        }
    }

    fn pools(&self) -> impl Iterator<Item = &PoolTree> {
        std::iter::once(&self.first).chain(&self.further)
    }

    /// The supervisors of the process and of the pools. One pool alone has the process's.
    fn supervisors(&self) -> impl Iterator<Item = (Option<&PoolId>, &Supervisor)> {
        let of_pools = self.pools().filter(|_| !self.further.is_empty());
        std::iter::once((None, &self.supervisor)).chain(of_pools.map(|pool| (Some(&pool.id), &pool.supervisor)))
    }

    fn links(
        &self,
        me: ReplicaId,
        wire_version: u8,
        process: &Shared,
        salt: Option<(u128, watch::Sender<u128>)>,
    ) -> Links {
        let schedulers = self.pools().map(|pool| (pool.id.clone(), pool.scheduler.clone()));
        Links {
            receiver: Receiver::of_pools(me, schedulers, self.telemetry.clone()).upto(wire_version),
            pools: self.pools().filter_map(PoolTree::links).collect(),
            clock: process.clock,
            network: process.network.clone(),
            found: None,
            supervisor: self.supervisor.clone(),
            readiness: self.readiness.clone(),
            salt,
        }
    }

    /// What the pages show of each pool's replication.
    fn views(&self) -> impl Iterator<Item = Option<ReplicationView>> {
        let views = self.replication.as_ref().map(Replication::views).unwrap_or_default();
        views.into_iter().map(Some).chain(std::iter::repeat(None))
    }

    fn open_pages(
        &self,
        health: Listener,
        admin: (Listener, DebugAccess, MetricsAccess),
        me: (ReplicaId, Incarnation),
    ) {
        let shown = self.pools().zip(self.views()).map(|(pool, replication)| PoolPages {
            id: pool.id.clone(),
            telemetry: pool.telemetry.clone(),
            scheduler: pool.scheduler.clone(),
            readiness: self.readiness_of(pool),
            replication,
        });
        let shown: Vec<PoolPages> = shown.collect();
        let of_pools = shown.iter().map(|pool| (pool.id.to_string(), pool.readiness.clone()));
        let service = HealthService::new(self.overall.clone()).with_pools(of_pools.collect());
        parts::health(&self.supervisor, health, service, event_sink(&self.telemetry, "health"));
        let (telemetry, readiness) = (self.telemetry.clone(), self.overall.clone());
        let pages = Pages { telemetry, readiness, me, pools: shown.into() };
        parts::admin(&self.supervisor, admin, pages, event_sink(&self.telemetry, "admin"));
    }

    /// Whether `pool` should receive requests: also what concerns all pools counts.
    fn readiness_of(&self, pool: &PoolTree) -> watch::Receiver<Readiness> {
        if self.further.is_empty() {
            return self.overall.clone();
        }
        let both = vec![pool.readiness.subscribe(), self.readiness.subscribe()];
        merged(&self.supervisor, &format!("readiness {}", pool.id), both)
    }

    fn show_gauges(&self, interval: Duration) {
        for (pool, view) in self.pools().zip(self.views()) {
            parts::gauges(&pool.supervisor, interval, &pool.scheduler, view, &pool.telemetry);
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.supervisor.stop_all();
    }
}

/// The name of a part among those of all pools.
fn part_of(pool: Option<&PoolId>, part: &str) -> String {
    pool.map_or_else(|| part.to_owned(), |pool| format!("{pool}/{part}"))
}

/// The first pool and the further ones, with their configurations, all of them valid.
fn planned(
    settings: &ReplicaSettings,
    pools: Pools,
    ext_proc: Listener,
) -> Result<(Planned, Vec<Planned>), StartError> {
    let Pools { first, further } = pools;
    let named = !first.is_default() || !further.is_empty();
    let (config_text, config_name) = (settings.config_text.clone(), settings.config_name.clone());
    let source = settings.kubernetes.as_ref().and_then(|kubernetes| kubernetes.source.clone());
    let first = PoolSource { id: first, config_text, config_name, salt: settings.salt, source, ext_proc };
    let recent_max = settings.recent_max.min(each_keeps(1 + further.len()));
    let plan = |PoolSource { id, config_text, config_name, salt, source, ext_proc }| {
        let blueprint = config::read(&config_text, &config_name, &(settings.catalog)());
        let wrong = |errors| if named { StartError::Pool(id.clone(), errors) } else { StartError::Config(errors) };
        let blueprint = blueprint.map_err(wrong)?;
        let address = ext_proc.address()?;
        let kubernetes = settings.kubernetes.clone().map(|kubernetes| KubernetesSettings { source, ..kubernetes });
        let settings = ReplicaSettings { config_text, config_name, salt, kubernetes, recent_max, ..settings.clone() };
        Ok::<_, StartError>(Planned { id, settings, blueprint, listener: ext_proc, address })
    };
    let first = plan(first)?;
    let mut planned: Vec<Planned> = Vec::new();
    for source in further {
        if source.id == first.id || planned.iter().any(|known| known.id == source.id) {
            return Err(StartError::PoolTwice(source.id));
        }
        planned.push(plan(source)?);
    }
    Ok((first, planned))
}
