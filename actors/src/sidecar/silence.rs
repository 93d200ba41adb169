//! How long something that is waited for may stay away.
//!
//! Only waiting counts: what nobody asked for is not late. Must not know who is silent.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Measures the silence of one side of a connection.
#[derive(Debug)]
pub(super) struct Silence {
    limit: Duration,
    deadline: Pin<Box<Sleep>>,
    waits: bool,
}

// === impl Silence ===

impl Silence {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, deadline: Box::pin(sleep(limit)), waits: false }
    }

    /// Nothing is there. Whether that has lasted for longer than the limit; otherwise the task is woken when it has.
    pub(super) fn lasts(&mut self, cx: &mut Context<'_>) -> bool {
        if !std::mem::replace(&mut self.waits, true) {
            self.deadline.as_mut().reset(Instant::now() + self.limit);
        }
        self.deadline.as_mut().poll(cx) == Poll::Ready(())
    }

    /// Something came.
    pub(super) fn is_broken(&mut self) {
        self.waits = false;
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_waiting_counts() {
        let second = Duration::from_secs(1);
        let mut silence = Silence::new(10 * second);
        let lasts = async |silence: &mut Silence| poll_fn(|cx| Poll::Ready(silence.lasts(cx))).await;
        sleep(60 * second).await;
        assert!(!lasts(&mut silence).await, "nobody has waited yet");
        sleep(9 * second).await;
        assert!(!lasts(&mut silence).await);
        silence.is_broken();
        sleep(60 * second).await;
        assert!(!lasts(&mut silence).await);
        sleep(10 * second).await;
        assert!(lasts(&mut silence).await);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken() {
        let began = Instant::now();
        let mut silence = Silence::new(Duration::from_secs(7));
        poll_fn(|cx| if silence.lasts(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
        assert_eq!(began.elapsed().as_secs(), 7);
    }
}
