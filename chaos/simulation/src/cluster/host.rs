//! A host in virtual time: a tokio runtime of its own, whose clock advances only while the host runs.
//!
//! Must not know what runs on it. Dropping it models SIGKILL: every task ends between two polls, without a last
//! message. Skipping its ticks models SIGSTOP: nothing runs, and once it continues its clock has jumped.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::time::{advance, sleep};

/// The host.
#[derive(Debug)]
pub(super) struct Host {
    runtime: Runtime,
    /// Ticks that it skipped since it last ran.
    behind: Duration,
}

// === impl Host ===

impl Host {
    /// A host whose clock starts now.
    ///
    /// # Errors
    /// If no runtime can be created.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        Ok(Self { runtime, behind: Duration::ZERO })
    }

    /// Spawns a task, which runs from the next tick on.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(task);
    }

    /// Enters the runtime, for code that spawns tasks itself.
    pub(super) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Runs the host for one tick, after the clock has caught up with skipped ticks.
    pub(super) fn tick(&mut self, tick: Duration) {
        let missed = std::mem::take(&mut self.behind);
        self.runtime.block_on(async {
            if !missed.is_zero() {
                advance(missed).await;
            }
            sleep(tick).await;
        });
    }

    /// Skips one tick.
    pub(super) fn skip_tick(&mut self, tick: Duration) {
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
    fn a_host_that_skipped_ticks_finds_that_time_has_passed() {
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
        (0..100).for_each(|_| host.skip_tick(TICK));
        host.tick(TICK);
        assert_eq!(beats.load(Ordering::Relaxed), 20 + 105);
    }
}
