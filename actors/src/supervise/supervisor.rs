//! The supervisor: it holds every part, restarts failed parts, and reports when it gives one up.
//!
//! Must not know what parts do, nor end the process: the code that embeds the replica waits for [`Failed`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::event::Event;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::sleep;

use super::restarts::{FAILURES_MAX, Restarts};
use crate::admin::Readiness;
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// A vital part was given up: the replica can't continue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Name of the part.
    pub part: String,
    /// Failures in a row.
    pub attempts: u32,
    /// Reason of the last failure.
    pub why: String,
}

/// Supervises the parts of one replica. Cheap to clone; [`Supervisor::stop_all`] ends all of them.
#[derive(Clone)]
pub struct Supervisor {
    shared: Arc<Shared>,
}

/// Resolves when a part has ended for good.
#[derive(Debug)]
pub struct Ended(oneshot::Receiver<()>);

/// A part that is stopped when this is dropped.
#[derive(Debug)]
pub struct Held {
    supervisor: Supervisor,
    name: String,
    number: u64,
}

struct Shared {
    clock: Clock,
    telemetry: Telemetry,
    readiness: Arc<watch::Sender<Readiness>>,
    failed: watch::Sender<Option<Failed>>,
    parts: Mutex<Parts>,
}

#[derive(Default)]
struct Parts {
    by_name: BTreeMap<String, Part>,
    /// Vital parts that are not running.
    down: BTreeSet<&'static str>,
    next: u64,
    closed: bool,
}

struct Part {
    number: u64,
    /// The current run; `None` between two starts.
    running: Option<AbortHandle>,
    vital: Option<&'static str>,
    /// The task of its [`PartRunner`]; dropping the part stops it.
    _task: JoinSet<()>,
}

/// Runs and restarts one part.
struct PartRunner {
    supervisor: Supervisor,
    name: String,
    number: u64,
    vital: Option<&'static str>,
    /// Dropped when the runner ends, which resolves [`Ended`].
    _ended: oneshot::Sender<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// A supervisor without parts. `telemetry` records restarts; `readiness` shows a vital part that is down.
    pub fn new(clock: Clock, telemetry: Telemetry, readiness: Arc<watch::Sender<Readiness>>) -> Self {
        let failed = watch::channel(None).0;
        Self { shared: Arc::new(Shared { clock, telemetry, readiness, failed, parts: Mutex::default() }) }
    }

    /// Starts a part that the replica requires. `factory` makes one run of it: `Ok` ends the part for good, an error
    /// or a panic is a failure. A part of the same name is replaced.
    pub fn vital<F, L>(&self, name: &'static str, factory: F) -> Ended
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.start(name.to_owned(), Some(name), factory).1
    }

    /// Starts a part that is restarted until the returned value is dropped. Its kind is the first word of its name.
    #[must_use]
    pub fn tolerated<F, L>(&self, name: String, factory: F) -> Held
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (number, _) = self.start(name.clone(), None, factory);
        Held { supervisor: self.clone(), name, number }
    }

    /// Starts a part that is restarted until it ends by itself, or the supervisor stops.
    pub fn lasting<F, L>(&self, name: String, factory: F)
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.start(name, None, factory);
    }

    /// The names of all parts that have not ended, in order.
    pub fn names(&self) -> Vec<String> {
        self.parts().by_name.keys().cloned().collect()
    }

    /// Kills the current run of the part called `name`; the part restarts. `false` when it is not running.
    pub fn kill(&self, name: &str) -> bool {
        let parts = self.parts();
        let running = parts.by_name.get(name).and_then(|part| part.running.as_ref());
        running.map(AbortHandle::abort).is_some()
    }

    /// Stops the part called `name` for good, if there is one.
    pub fn stop(&self, name: &str) {
        let number = self.parts().by_name.get(name).map(|part| part.number);
        if let Some(number) = number {
            self.forget(name, number);
        }
    }

    /// Resolves when a vital part was given up; never if all parts are stopped before.
    pub fn failed(&self) -> impl Future<Output = Failed> + Send + use<> {
        let mut failed = self.shared.failed.subscribe();
        async move {
            loop {
                if let Some(failed) = failed.borrow_and_update().clone() {
                    return failed;
                }
                if failed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Stops every part at once, for good; none can be started afterwards.
    pub fn stop_all(&self) {
        let stopped = {
            let mut parts = self.parts();
            parts.closed = true;
            std::mem::take(&mut parts.by_name)
        };
        drop(stopped);
    }

    fn start<F, L>(&self, name: String, vital: Option<&'static str>, factory: F) -> (u64, Ended)
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (ended, end) = oneshot::channel();
        let mut parts = self.parts();
        let number = parts.next;
        parts.next += 1;
        if parts.closed {
            return (number, Ended(end));
        }
        parts.down.extend(vital);
        let runner = PartRunner { supervisor: self.clone(), name: name.clone(), number, vital, _ended: ended };
        let mut task = JoinSet::new();
        task.spawn(runner.supervise(factory));
        let replaced = parts.by_name.insert(name, Part { number, running: None, vital, _task: task });
        self.publish_readiness(&parts);
        drop(parts);
        drop(replaced);
        (number, Ended(end))
    }

    /// Removes a part, unless another part has taken its name.
    fn forget(&self, name: &str, number: u64) {
        let mut parts = self.parts();
        let is_same = parts.by_name.get(name).is_some_and(|part| part.number == number);
        let removed = is_same.then(|| parts.by_name.remove(name)).flatten();
        if let Some(vital) = removed.as_ref().and_then(|part| part.vital) {
            parts.down.remove(vital);
        }
        self.publish_readiness(&parts);
        drop(parts);
        drop(removed);
    }

    /// Updates readiness with the first vital part that is down, if any.
    fn publish_readiness(&self, parts: &Parts) {
        let down = parts.down.first().copied();
        self.shared.readiness.send_if_modified(|readiness| std::mem::replace(&mut readiness.down, down) != down);
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // A panic leaves the parts consistent: every change is complete before anything can panic.
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("parts", &self.names()).finish_non_exhaustive()
    }
}

// === impl PartRunner ===

impl PartRunner {
    async fn supervise<F, L>(self, mut factory: F)
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut restarts = Restarts::default();
        loop {
            let Err(why) = self.run(&mut factory).await else {
                self.supervisor.forget(&self.name, self.number);
                return;
            };
            self.set_running(None);
            let shared = &self.supervisor.shared;
            let pause = restarts.failed(shared.clock.now());
            if self.vital.is_some() && restarts.failures() >= FAILURES_MAX {
                let (part, attempts) = (self.name.clone(), restarts.failures());
                shared.telemetry.record(&Event::PartGivenUp { part: part.clone(), attempts, why: why.clone() });
                let first = Failed { part, attempts, why };
                shared.failed.send_if_modified(|failed| failed.is_none() && failed.replace(first).is_none());
                return;
            }
            shared.telemetry.record(&Event::ActorRestarted { actor: self.name.clone(), why });
            sleep(pause).await;
        }
    }

    /// One run of the part, in its own task, so a panic ends only that task.
    async fn run<F, L>(&self, factory: &mut F) -> Result<(), String>
    where
        F: FnMut() -> L,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let begun = catch_unwind(AssertUnwindSafe(factory)).map_err(|panic| panic_reason(&*panic))?;
        let mut running = JoinSet::new();
        self.set_running(Some(running.spawn(begun)));
        match running.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(join_reason(error)),
            None => Ok(()),
        }
    }

    fn set_running(&self, running: Option<AbortHandle>) {
        let mut parts = self.supervisor.parts();
        let Some(part) = parts.by_name.get_mut(&self.name).filter(|part| part.number == self.number) else { return };
        let up = running.is_some();
        part.running = running;
        if let Some(vital) = self.vital {
            if up {
                parts.down.remove(vital)
            } else {
                parts.down.insert(vital)
            };
            self.supervisor.publish_readiness(&parts);
        }
    }
}

fn join_reason(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => panic_reason(&*panic),
        Err(_) => "it was killed".to_owned(),
    }
}

fn panic_reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

// === impl Ended, Held, Failed ===

impl Ended {
    /// Waits until the part has ended for good: done, given up or stopped.
    pub async fn wait(self) {
        // Nothing is ever sent: the drop of the sender is the signal.
        drop(self.0.await);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.supervisor.forget(&self.name, self.number);
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, attempts, why } = self;
        write!(f, "the part {part} failed {attempts} times in a row and is given up; the last failure: {why}")
    }
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
