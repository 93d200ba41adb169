//! Which targets may be named now: those of rules, and the endpoints of an InferencePool.
//!
//! Must not know where either comes from.

use std::sync::Arc;

use tokio::sync::watch;

use super::allowed::AllowedTargets;
use super::target::Target;
use crate::environment::Announcement;

/// The endpoints of a pool; `None` until they are known.
pub(super) type PoolFeed = watch::Receiver<Option<Arc<Announcement>>>;

/// The targets that are allowed.
#[derive(Clone, Debug)]
pub(super) struct AllowList {
    rules: watch::Receiver<Arc<AllowedTargets>>,
    pool: Option<PoolFeed>,
}

// === impl AllowList ===

impl AllowList {
    pub(super) fn new(rules: watch::Receiver<Arc<AllowedTargets>>, pool: Option<PoolFeed>) -> Self {
        Self { rules, pool }
    }

    /// Whether a header may name `target`. An endpoint of the pool is its address *with its port*.
    pub(super) fn allows(&self, target: &Target) -> bool {
        self.rules.borrow().allows(target) || self.is_in_the_pool(target)
    }

    /// Whether a target that is not allowed may be later: the pool is not known yet.
    pub(super) fn is_incomplete(&self) -> bool {
        self.pool.as_ref().is_some_and(|pool| pool.borrow().is_none())
    }

    fn is_in_the_pool(&self, target: &Target) -> bool {
        let (Some(pool), Some(address)) = (&self.pool, target.address()) else { return false };
        let known = pool.borrow();
        let mut endpoints = known.iter().flat_map(|known| &known.endpoints);
        endpoints.any(|endpoint| endpoint.address.ip() == address && endpoint.address.port() == target.port)
    }
}
