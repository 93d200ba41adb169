//! Which endpoints this replica watches: set from the members, asked by each endpoint's actor.
//!
//! Must not know the rule; [`Keepers`] has it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use murmuration::id::{EndpointKey, ReplicaId};
use murmuration::replication::Keepers;
use tokio::sync::watch;

/// Endpoints without recent reports, and for how long.
pub(crate) type Silent = Arc<BTreeMap<EndpointKey, Duration>>;

/// The keepers and the silent endpoints. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Keeping {
    me: ReplicaId,
    keepers: Arc<watch::Sender<Keepers>>,
    silent: Arc<watch::Sender<Silent>>,
}

// === impl Keeping ===

impl Keeping {
    /// A replica that keeps everything until it knows of others.
    pub fn new(me: ReplicaId) -> Self {
        let (keepers, silent) = (watch::channel(Keepers::default()).0, watch::channel(Silent::default()).0);
        Self { me, keepers: Arc::new(keepers), silent: Arc::new(silent) }
    }

    /// Sets the living replicas that may keep.
    pub fn set_keepers(&self, keepers: Keepers) {
        self.keepers.send_if_modified(|held| std::mem::replace(held, keepers.clone()) != keepers);
    }

    /// Sets the endpoints without recent reports.
    pub fn set_silent(&self, silent: BTreeMap<EndpointKey, Duration>) {
        // Waiters are not woken while no endpoint is silent.
        self.silent.send_if_modified(|held| {
            let matters = !(held.is_empty() && silent.is_empty());
            if matters {
                *held = Arc::new(silent);
            }
            matters
        });
    }

    /// Whether this replica is the endpoint's keeper.
    pub fn keeps(&self, endpoint: EndpointKey, zone: &str) -> bool {
        self.keepers.borrow().rank(&self.me, endpoint, zone) == 0
    }

    /// Whether this replica must scrape the endpoint now, where each is scraped once each `interval`.
    pub fn must_watch(&self, endpoint: EndpointKey, zone: &str, interval: Duration) -> bool {
        let silence = self.silent.borrow().get(&endpoint).copied().unwrap_or_default();
        self.keepers.borrow().must_watch(&self.me, endpoint, zone, silence, interval)
    }

    /// The keepers, and changes of them.
    pub fn changes(&self) -> watch::Receiver<Keepers> {
        self.keepers.subscribe()
    }

    /// The endpoints without recent reports, and changes of them.
    pub(crate) fn silent(&self) -> watch::Receiver<Silent> {
        self.silent.subscribe()
    }
}
