//! Access to the supervised parts of a test's replica: their names, and how to kill one.
//!
//! Must not know what the parts do.

use murmuration_actors::admin::Readiness;
use murmuration_actors::scheduler::SchedulerHandle;
use murmuration_actors::supervise::Failed;

use super::Replica;

impl Replica {
    /// A handle to its scheduler.
    pub fn scheduler(&self) -> SchedulerHandle {
        self.inner.scheduler().clone()
    }

    /// Its readiness now.
    pub fn readiness(&self) -> Readiness {
        *self.inner.readiness().borrow()
    }

    /// The names of its parts.
    pub fn parts(&self) -> Vec<String> {
        self.inner.parts()
    }

    /// Kills one of its parts. Returns whether that part was running.
    pub fn kill_part(&self, name: &str) -> bool {
        self.inner.kill_part(name)
    }

    /// Resolves when the replica has failed for good.
    pub fn failed(&self) -> impl Future<Output = Failed> + use<> {
        self.inner.failed()
    }
}
