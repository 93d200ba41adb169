//! The parts of a test's replica: which there are, and what kills one.
//!
//! Must not know what parts do.

use murmuration_actors::admin::Readiness;
use murmuration_actors::scheduler::SchedulerHandle;
use murmuration_actors::supervise::Failed;

use super::Replica;

impl Replica {
    /// Its scheduler's verbs.
    pub fn scheduler(&self) -> SchedulerHandle {
        self.inner.scheduler().clone()
    }

    /// Whether it wants requests, as it says now.
    pub fn readiness(&self) -> Readiness {
        *self.inner.readiness().borrow()
    }

    /// Its parts.
    pub fn parts(&self) -> Vec<String> {
        self.inner.parts()
    }

    /// Kills one of its parts.
    pub fn kill_part(&self, name: &str) -> bool {
        self.inner.kill_part(name)
    }

    /// Resolves when it can't go on.
    pub fn failed(&self) -> impl Future<Output = Failed> + use<> {
        self.inner.failed()
    }
}
