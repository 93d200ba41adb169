//! A machine in virtual time: a runtime of its own, whose clock moves only when it is let run.
//!
//! Must not know what runs on it. Dropping it is what SIGKILL is: every task is gone between two polls, and nothing is said. Not letting it
//! run for a while is SIGSTOP: nothing moves, and when it goes on, its clock has jumped.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::time::{advance, sleep};

/// The machine.
#[derive(Debug)]
pub(super) struct Host {
    runtime: Runtime,
    behind: Duration,
}

// === impl Host ===

impl Host {
    /// A machine that was just switched on.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        Ok(Self { runtime, behind: Duration::ZERO })
    }

    /// Puts a task on it, which runs from the next tick.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// For making what spawns tasks by itself.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Lets it run for one tick.
    pub(super) fn tick(&mut self, tick: Duration) {
        let missed = std::mem::take(&mut self.behind);
        self.runtime.block_on(async {
            if !missed.is_zero() {
                advance(missed).await;
            }
            sleep(tick).await;
        });
    }

    /// Lets one tick pass without it.
    pub(super) fn stand_still(&mut self, tick: Duration) {
        self.behind += tick;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::time::Instant;

    use super::*;

    const TICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_machine_that_stood_still_finds_that_time_has_passed() {
        let mut host = Host::new().unwrap();
        let beats = Arc::new(AtomicU32::new(0));
        let counted = beats.clone();
        host.spawn(async move {
            loop {
                let began = Instant::now();
                sleep(Duration::from_millis(10)).await;
                counted.fetch_add(began.elapsed().as_millis() as u32, Ordering::Relaxed);
            }
        });
        (0..25).for_each(|_| host.tick(TICK));
        assert_eq!(beats.load(Ordering::Relaxed), 20);
        (0..100).for_each(|_| host.stand_still(TICK));
        host.tick(TICK);
        assert_eq!(beats.load(Ordering::Relaxed), 20 + 105);
    }
}
