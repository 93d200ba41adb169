//! The endpoints of a pool alone, for who neither places requests nor rewrites them: a sidecar.
//!
//! Must not know what refers to the pool; so no rights to read that are needed.

use std::sync::Arc;

use kube::Client;
use tokio::sync::watch;

use super::announcer::{self, Announced};
use super::context::Context;
use super::parts::endless;
use super::pods::PodsWatch;
use super::pool::PoolWatch;
use super::settings::PoolName;
use super::view::View;
use crate::supervise::Supervisor;
use crate::telemetry::Telemetry;

/// Starts to watch an InferencePool and its pods, and to announce its endpoints. `me` tells the pauses of several
/// watchers apart.
pub fn start_endpoints(
    supervisor: &Supervisor,
    client: Client,
    (pool, me): (&PoolName, &str),
    announced: Announced,
    telemetry: &Telemetry,
) {
    let context = Context { client, me: me.to_owned(), telemetry: telemetry.clone() };
    let PoolName { namespace, pool } = pool.clone();
    let view = Arc::new(watch::channel(View::of_endpoints()).0);
    let pods = PodsWatch { context: context.clone(), namespace: namespace.clone(), view: view.clone() };
    endless(supervisor, "watch pods", move || pods.clone().run());
    let part = PoolWatch { context, namespace, pool, view: view.clone() };
    endless(supervisor, "watch inferencepools", move || part.clone().run());
    supervisor.vital("announcer", move || {
        let (view, announced) = (view.subscribe(), announced.clone());
        async move {
            announcer::run(view, announced).await;
            Ok(())
        }
    });
}
