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
use super::settings::{PeerPods, Source};
use super::view::View;
use crate::environment::PeerFeed;
use crate::replication::Keeping;
use crate::supervise::Supervisor;
use crate::telemetry::Telemetry;

/// What refers to a pool is watched with this.
type Refer<'a> = (&'a Context, &'a str, &'a PoolRef, usize, &'a Arc<watch::Sender<View>>, &'a Option<Keeping>);

/// Starts to watch the pool of `source` and to announce it. `keeping` says which conditions this replica writes: all of
/// them without peers.
pub fn start_pool(
    supervisor: &Supervisor,
    client: Client,
    (source, me, keeping): (&Source, &str, Option<Keeping>),
    announced: Announced,
    telemetry: &Telemetry,
) {
    let context = Context { client, me: me.to_owned(), telemetry: telemetry.clone() };
    let namespace = source.namespace().to_owned();
    let view = match source {
        Source::Pool { .. } => View::default(),
        Source::Selector { selector, ports, .. } => View::of_selector(selector.clone(), ports.clone()),
    };
    let view = Arc::new(watch::channel(view).0);
    let pods = PodsWatch { context: context.clone(), namespace: namespace.clone(), view: view.clone() };
    endless(supervisor, "watch pods", move || pods.clone().run());
    if let Source::Pool { pool, .. } = source {
        for group in 0..GROUPS.len() {
            let of = (&context, namespace.as_str(), pool, group, &view, &keeping);
            refer(supervisor, &OBJECTIVES, of);
            refer(supervisor, &REWRITES, of);
        }
        let pool = pool.clone();
        let part = PoolWatch { context, namespace, pool, view: view.clone() };
        endless(supervisor, "watch inferencepools", move || part.clone().run());
    }
    supervisor.vital("announcer", move || {
        let (view, announced) = (view.subscribe(), announced.clone());
        async move {
            announcer::run(view, announced).await;
            Ok(())
        }
    });
}

/// Starts to watch the pods of the tier.
pub fn start_peers(supervisor: &Supervisor, client: Client, pods: PeerPods, telemetry: &Telemetry) -> PeerFeed {
    let (found, finds) = watch::channel(None);
    let context = Context { client, me: pods.me.clone(), telemetry: telemetry.clone() };
    let part = PeersWatch { context, pods, found: Arc::new(found) };
    endless(supervisor, "watch peers", move || part.clone().run());
    finds
}

/// Starts to watch the objects of `kind` in one group, and to write their conditions.
fn refer<T: PartialEq + Send + 'static>(
    supervisor: &Supervisor,
    kind: &'static Kind<T>,
    (context, namespace, pool, group, view, keeping): Refer<'_>,
) {
    let (context, namespace, pool, view) = (context.clone(), namespace.to_owned(), pool.clone(), view.clone());
    let judged = Arc::new(watch::channel(Objects::default()).0);
    let part = Referring { context, namespace, pool, kind, group, view, judged };
    let writer = part.writer(keeping.clone());
    endless(supervisor, &format!("status {}", kind.resource(group)), move || writer.clone().run());
    endless(supervisor, &format!("watch {}", kind.resource(group)), move || part.clone().run());
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
