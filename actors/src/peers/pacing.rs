//! When what was said goes out: a dispatch at once, and readings with it or a few milliseconds later.
//!
//! Must not know followers or bytes. A message costs its sender and each receiver far more than a fact in it, so this decides
//! once for all followers: they wake together, and find the same batch.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::replication::Publisher;

/// How long what is not urgent waits for something that is. Below the interval of scrapes, and far below the age from which
/// on a reading is believed less.
pub(super) const RIDE: Duration = Duration::from_millis(20);
/// The least time from one batch to the next: news after silence goes at once, a flood is told in few batches.
pub(super) const PACE: Duration = Duration::from_millis(8);

/// Lets followers have what `publisher` says, by numbers up to which it may go out, until nobody follows any more.
pub(super) async fn pace(publisher: Publisher, released: watch::Sender<u64>) {
    let (mut head, mut urgent) = (publisher.head(), publisher.urgent());
    let mut told = 0;
    let mut next = Instant::now();
    loop {
        // The publisher holds both senders, so they are there.
        if head.wait_for(|head| *head > told).await.is_err() {
            return;
        }
        if *urgent.borrow() <= told {
            tokio::select! {
                biased;
                _ = urgent.wait_for(|urgent| *urgent > told) => {}
                () = sleep(RIDE) => {}
            }
        }
        sleep_until(next).await;
        told = *head.borrow_and_update();
        next = Instant::now() + PACE;
        if released.send(told).is_err() {
            return;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::fleet::LoadReport;
    use murmuration::id::{EndpointKey, Incarnation, ReplicaId};
    use murmuration::replication::{EndpointLoad, Placement, Record};
    use murmuration::time::Timestamp;
    use tokio::task::JoinSet;
    use tokio::time::timeout;

    use super::*;
    use crate::clock::Clock;

    fn reads(publisher: &Publisher, endpoint: u64) {
        let word = EndpointLoad { endpoint: EndpointKey(endpoint), report: LoadReport::default() };
        publisher.publish([(Record::Load(word), Timestamp::ZERO)]);
    }

    fn dispatches(publisher: &Publisher) {
        let placement = Placement { endpoint: EndpointKey(1), anchors: Vec::new() };
        publisher.publish([(Record::Placement(placement), Timestamp::ZERO)]);
    }

    fn paced() -> (Publisher, watch::Receiver<u64>, JoinSet<()>) {
        let publisher = Publisher::new(ReplicaId("a".into()), Incarnation(1), Clock::start());
        let ((released, out), mut tasks) = (watch::channel(0), JoinSet::new());
        tasks.spawn(pace(publisher.clone(), released));
        (publisher, out, tasks)
    }

    #[tokio::test(start_paused = true)]
    async fn a_dispatch_goes_at_once_and_takes_the_readings_along() {
        let (publisher, mut out, _pacing) = paced();
        let began = Instant::now();
        reads(&publisher, 1);
        reads(&publisher, 2);
        assert!(timeout(RIDE / 2, out.changed()).await.is_err(), "readings wait");
        dispatches(&publisher);
        out.changed().await.unwrap();
        assert_eq!((*out.borrow_and_update(), began.elapsed()), (3, RIDE / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn readings_alone_go_together_after_a_while() {
        let (publisher, mut out, _pacing) = paced();
        let began = Instant::now();
        for endpoint in 0..10 {
            reads(&publisher, endpoint);
            sleep(Duration::from_millis(1)).await;
        }
        out.changed().await.unwrap();
        assert_eq!(*out.borrow_and_update(), 10);
        assert!((RIDE..RIDE + PACE).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_is_told_in_few_batches() {
        let (publisher, mut out, _pacing) = paced();
        let mut releases = 0;
        for _ in 0..100 {
            dispatches(&publisher);
            sleep(Duration::from_millis(1)).await;
            releases += usize::from(out.has_changed().unwrap());
            out.borrow_and_update();
        }
        assert!((10..=15).contains(&releases), "{releases}");
    }
}
