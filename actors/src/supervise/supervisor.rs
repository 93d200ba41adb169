//! The supervisor: it knows every part, restarts those that fail, and says so when it must give up.
//!
//! Must not know what parts do, nor end the process: whoever embeds the replica hears of [`Failed`].

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

/// A vital part was given up: the replica can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Which part.
    pub part: String,
    /// How often in a row it failed.
    pub attempts: u32,
    /// How it failed last.
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
    /// Vital parts that do not run now.
    down: BTreeSet<&'static str>,
    next: u64,
    closed: bool,
}

struct Part {
    number: u64,
    /// The part as it runs now; `None` between two starts.
    running: Option<AbortHandle>,
    vital: Option<&'static str>,
    /// Dropped with the part, which stops it.
    _keeper: JoinSet<()>,
}

/// Who a keeper keeps.
struct Kept {
    supervisor: Supervisor,
    name: String,
    number: u64,
    vital: Option<&'static str>,
    /// Dropped when the keeper ends.
    _ended: oneshot::Sender<()>,
}

// === impl Supervisor ===

impl Supervisor {
    /// A supervisor without parts. Restarts are told to `telemetry`; a vital part that does not run is told to `readiness`.
    pub fn new(clock: Clock, telemetry: Telemetry, readiness: Arc<watch::Sender<Readiness>>) -> Self {
        let failed = watch::channel(None).0;
        Self { shared: Arc::new(Shared { clock, telemetry, readiness, failed, parts: Mutex::default() }) }
    }

    /// Starts a part that the replica can't do without. `life` makes one run of it: `Ok` ends the part for good, an error or
    /// a panic is a failure. A part of the same name is replaced.
    pub fn vital<F, L>(&self, name: &'static str, life: F) -> Ended
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.start(name.to_owned(), Some(name), life).1
    }

    /// Starts a part that is tried for ever, until what is returned is dropped. Its kind is the first word of its name.
    #[must_use]
    pub fn tolerated<F, L>(&self, name: String, life: F) -> Held
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (number, _) = self.start(name.clone(), None, life);
        Held { supervisor: self.clone(), name, number }
    }

    /// The names of all parts that have not ended, in order.
    pub fn names(&self) -> Vec<String> {
        self.parts().by_name.keys().cloned().collect()
    }

    /// Kills the part called `name` as it runs now, as a failure would; it is started again. `false` when it does not run.
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

    /// Resolves when a vital part was given up. Never when all parts are stopped before.
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

    /// Stops every part at once, for good; none can be started after.
    pub fn stop_all(&self) {
        let stopped = {
            let mut parts = self.parts();
            parts.closed = true;
            std::mem::take(&mut parts.by_name)
        };
        drop(stopped);
    }

    fn start<F, L>(&self, name: String, vital: Option<&'static str>, life: F) -> (u64, Ended)
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
        let kept = Kept { supervisor: self.clone(), name: name.clone(), number, vital, _ended: ended };
        let mut keeper = JoinSet::new();
        keeper.spawn(kept.keep(life));
        let replaced = parts.by_name.insert(name, Part { number, running: None, vital, _keeper: keeper });
        self.show(&parts);
        drop(parts);
        drop(replaced);
        (number, Ended(end))
    }

    /// Forgets a part, unless another one has its name by now.
    fn forget(&self, name: &str, number: u64) {
        let mut parts = self.parts();
        let is_it = parts.by_name.get(name).is_some_and(|part| part.number == number);
        let forgotten = is_it.then(|| parts.by_name.remove(name)).flatten();
        if let Some(vital) = forgotten.as_ref().and_then(|part| part.vital) {
            parts.down.remove(vital);
        }
        self.show(&parts);
        drop(parts);
        drop(forgotten);
    }

    /// Makes known which vital part does not run, if any.
    fn show(&self, parts: &Parts) {
        let down = parts.down.first().copied();
        self.shared.readiness.send_if_modified(|readiness| std::mem::replace(&mut readiness.down, down) != down);
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        // Every change of the parts is whole before anything in it can panic.
        self.shared.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("parts", &self.names()).finish_non_exhaustive()
    }
}

// === impl Kept ===

impl Kept {
    async fn keep<F, L>(self, mut life: F)
    where
        F: FnMut() -> L + Send + 'static,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let mut restarts = Restarts::default();
        loop {
            let Err(why) = self.run(&mut life).await else {
                self.supervisor.forget(&self.name, self.number);
                return;
            };
            self.runs(None);
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

    /// One run of the part, in a task of its own, so that a panic ends only that.
    async fn run<F, L>(&self, life: &mut F) -> Result<(), String>
    where
        F: FnMut() -> L,
        L: Future<Output = Result<(), String>> + Send + 'static,
    {
        let begun = catch_unwind(AssertUnwindSafe(life)).map_err(|panic| told(&*panic))?;
        let mut running = JoinSet::new();
        self.runs(Some(running.spawn(begun)));
        match running.join_next().await {
            Some(Ok(done)) => done,
            Some(Err(error)) => Err(why(error)),
            None => Ok(()),
        }
    }

    fn runs(&self, running: Option<AbortHandle>) {
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
            self.supervisor.show(&parts);
        }
    }
}

fn why(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => told(&*panic),
        Err(_) => "it was killed".to_owned(),
    }
}

fn told(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

// === impl Ended, Held, Failed ===

impl Ended {
    /// Waits until the part has ended for good: done, given up or stopped.
    pub async fn wait(self) {
        // The sender is never used: that it is dropped is the word.
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
