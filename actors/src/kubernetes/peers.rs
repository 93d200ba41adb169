//! Watches the pods of the tier: where other replicas take gossip.
//!
//! Must not know members. A pod counts from the moment that it has an address, Ready or not: replicas that start
//! together must find each other before any of them is ready. Needs no right beyond those for the pool's pods.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::context::Context;
use super::objects::Objects;
use super::pods::{read, watched};
use super::reader::Reader;
use super::settings::PeerPods;
use super::watch::{Seen, Watch};

/// What the part needs.
#[derive(Clone)]
pub(super) struct PeersWatch {
    pub(super) context: Context,
    pub(super) pods: PeerPods,
    pub(super) found: Arc<watch::Sender<Option<BTreeSet<SocketAddr>>>>,
}

// === impl PeersWatch ===

impl PeersWatch {
    /// Watches for ever.
    pub(super) async fn run(self) {
        let PeerPods { namespace, selector, port, me } = &self.pods;
        let watched = watched(&self.context, namespace, selector, "peers");
        let mut watch = Watch::new(watched, &self.context.me, self.context.telemetry.clone());
        let mut reader = Reader::new("Pod", namespace, self.context.telemetry.clone());
        let mut pods = Objects::default();
        loop {
            let Seen::Step(step) = watch.next().await else { continue };
            if !pods.take(reader.change(step, read)) {
                continue;
            }
            let others = pods.known().into_iter().flatten().filter(|(name, _)| *name != me);
            let addresses = others.filter_map(|(_, pod)| Some(SocketAddr::new(pod.reached_at()?, *port))).collect();
            let addresses = Some(addresses);
            self.found.send_if_modified(|found| std::mem::replace(found, addresses.clone()) != addresses);
        }
    }
}
