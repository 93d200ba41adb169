//! The watches as parts of a replica.
//!
//! Must not know what they do.

use std::sync::Arc;

use kube::Client;
use murmuration::dialect::kubernetes::pool_ref::PoolRef;
use tokio::sync::watch;

use super::announcer::{self, Announced};
use super::context::Context;
use super::objects::Objects;
use super::peers::PeersWatch;
use super::pods::PodsWatch;
use super::pool::PoolWatch;
use super::referring::{GROUPS, Kind, OBJECTIVES, REWRITES, Referring};
use super::settings::{PeerPods, PoolName, Source};
use super::view::View;
use crate::environment::PeerFeed;
use crate::replication::Keeping;
use crate::supervise::Supervisor;
use crate::telemetry::Telemetry;

/// What the watches of one pool have in common.
struct Watched {
    context: Context,
    namespace: String,
    view: Arc<watch::Sender<View>>,
}

/// Starts to watch the pool of `source` and to announce it. `keeping` says which conditions this replica writes: all of
/// them without peers.
pub fn start_pool(
    supervisor: &Supervisor,
    client: Client,
    (source, me, keeping): (&Source, &str, Option<Keeping>),
    announced: Announced,
    telemetry: &Telemetry,
) {
    let view = match source {
        Source::Pool { .. } => View::default(),
        Source::Selector { selector, ports, .. } => View::of_selector(selector.clone(), ports.clone()),
    };
    let context = Context { client, me: me.to_owned(), telemetry: telemetry.clone() };
    let watched = Watched::new(context, source.namespace(), view);
    watched.watch_pods(supervisor);
    if let Source::Pool { pool, .. } = source {
        for group in 0..GROUPS.len() {
            watched.watch_referring(supervisor, &OBJECTIVES, (pool, group, &keeping));
            watched.watch_referring(supervisor, &REWRITES, (pool, group, &keeping));
        }
        watched.watch_pool(supervisor, pool);
    }
    watched.announce(supervisor, announced);
}

/// Starts to watch an InferencePool and its pods, and to announce its endpoints, for who neither places requests nor
/// rewrites them: a sidecar. No right to read what refers to the pool is needed. `me` tells the pauses of several
/// watchers apart.
pub fn start_endpoints(
    supervisor: &Supervisor,
    client: Client,
    (pool, me): (&PoolName, &str),
    announced: Announced,
    telemetry: &Telemetry,
) {
    let context = Context { client, me: me.to_owned(), telemetry: telemetry.clone() };
    let watched = Watched::new(context, &pool.namespace, View::of_endpoints());
    watched.watch_pods(supervisor);
    watched.watch_pool(supervisor, &pool.pool);
    watched.announce(supervisor, announced);
}

/// Starts to watch the pods of the tier.
pub fn start_peers(supervisor: &Supervisor, client: Client, pods: PeerPods, telemetry: &Telemetry) -> PeerFeed {
    let (found, finds) = watch::channel(None);
    let context = Context { client, me: pods.me.clone(), telemetry: telemetry.clone() };
    let part = PeersWatch { context, pods, found: Arc::new(found) };
    endless(supervisor, "watch peers", move || part.clone().run());
    finds
}

/// A part that never ends by itself: one that panics starts again, and what it had shown stays in force.
pub(super) fn endless<L: Future<Output = ()> + Send + 'static>(
    supervisor: &Supervisor,
    name: &str,
    mut run: impl FnMut() -> L + Send + 'static,
) {
    supervisor.lasting(name.to_owned(), move || {
        let run = run();
        async move {
            run.await;
            Ok(())
        }
    });
}

// === impl Watched ===

impl Watched {
    fn new(context: Context, namespace: &str, view: View) -> Self {
        Self { context, namespace: namespace.to_owned(), view: Arc::new(watch::channel(view).0) }
    }

    fn watch_pods(&self, supervisor: &Supervisor) {
        let Self { context, namespace, view } = self;
        let part = PodsWatch { context: context.clone(), namespace: namespace.clone(), view: view.clone() };
        endless(supervisor, "watch pods", move || part.clone().run());
    }

    fn watch_pool(&self, supervisor: &Supervisor, pool: &PoolRef) {
        let (context, namespace, view) = (self.context.clone(), self.namespace.clone(), self.view.clone());
        let part = PoolWatch { context, namespace, pool: pool.clone(), view };
        endless(supervisor, "watch inferencepools", move || part.clone().run());
    }

    /// Watches the objects of `kind` in one group that refer to `pool`, and writes their conditions.
    fn watch_referring<T: PartialEq + Send + 'static>(
        &self,
        supervisor: &Supervisor,
        kind: &'static Kind<T>,
        (pool, group, keeping): (&PoolRef, usize, &Option<Keeping>),
    ) {
        let (context, namespace, view) = (self.context.clone(), self.namespace.clone(), self.view.clone());
        let judged = Arc::new(watch::channel(Objects::default()).0);
        let part = Referring { context, namespace, pool: pool.clone(), kind, group, view, judged };
        let writer = part.writer(keeping.clone());
        endless(supervisor, &format!("status {}", kind.resource(group)), move || writer.clone().run());
        endless(supervisor, &format!("watch {}", kind.resource(group)), move || part.clone().run());
    }

    fn announce(self, supervisor: &Supervisor, announced: Announced) {
        supervisor.vital("announcer", move || {
            let (view, announced) = (self.view.subscribe(), announced.clone());
            async move {
                announcer::run(view, announced).await;
                Ok(())
            }
        });
    }
}
