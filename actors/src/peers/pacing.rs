//! When published facts are sent: a dispatch at once, load reports with it or a few milliseconds later.
//!
//! Must not know followers or bytes. A message costs its sender and each receiver far more than a fact in it. So the
//! pace is decided once for all followers: they wake together and send the same batch.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::replication::Publisher;

/// The least time from one batch to the next that no urgent fact causes: so long may a fact wait for an urgent one.
/// Below the scrape interval, and far below the age from which a load report loses weight. After a pause all are sent at
/// once.
pub(super) const COALESCE_MAX: Duration = Duration::from_millis(20);
/// The least time from one batch that an urgent fact caused to the next. A dispatch after a pause is sent at once, a
/// burst in few batches. A batch of load reports delays no dispatch.
pub(super) const BATCH_INTERVAL: Duration = Duration::from_millis(8);

/// Releases what `publisher` publishes: `released` is the number up to which facts may be sent. Ends when all its
/// receivers are gone.
pub(super) async fn pace(publisher: Publisher, released: watch::Sender<u64>) {
    let (mut head, mut urgent) = (publisher.head(), publisher.urgent());
    let mut sent = 0;
    let (mut last, mut next) = (Instant::now(), Instant::now());
    loop {
        // The publisher holds both senders, so they exist.
        if head.wait_for(|head| *head > sent).await.is_err() {
            return;
        }
        if *urgent.borrow() <= sent {
            tokio::select! {
                biased;
                _ = urgent.wait_for(|urgent| *urgent > sent) => {}
                () = sleep_until(last + COALESCE_MAX) => {}
            }
        }
        if *urgent.borrow() > sent {
            sleep_until(next).await;
            next = Instant::now() + BATCH_INTERVAL;
        }
        sent = *head.borrow_and_update();
        last = Instant::now();
        if released.send(sent).is_err() {
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
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::clock::Clock;

    fn publish_load(publisher: &Publisher, endpoint: u64) {
        let load = EndpointLoad { endpoint: EndpointKey(endpoint), report: LoadReport::default() };
        publisher.publish([(Record::Load(load), Timestamp::ZERO)]);
    }

    fn publish_placement(publisher: &Publisher) {
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
    async fn a_dispatch_is_sent_at_once_together_with_waiting_load_reports() {
        let (publisher, mut out, _pacing) = paced();
        let began = Instant::now();
        publish_load(&publisher, 1);
        publish_load(&publisher, 2);
        assert!(timeout(COALESCE_MAX / 2, out.changed()).await.is_err(), "load reports wait");
        publish_placement(&publisher);
        out.changed().await.unwrap();
        assert_eq!((*out.borrow_and_update(), began.elapsed()), (3, COALESCE_MAX / 2));
    }

    #[tokio::test(start_paused = true)]
    async fn load_reports_alone_are_sent_together_after_a_while() {
        let (publisher, mut out, _pacing) = paced();
        let began = Instant::now();
        for endpoint in 0..10 {
            publish_load(&publisher, endpoint);
            sleep(Duration::from_millis(1)).await;
        }
        out.changed().await.unwrap();
        assert_eq!(*out.borrow_and_update(), 10);
        assert!((COALESCE_MAX..COALESCE_MAX + BATCH_INTERVAL).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_of_load_reports_delays_no_dispatch() {
        let (publisher, mut out, _pacing) = paced();
        publish_load(&publisher, 1);
        out.changed().await.unwrap();
        let began = Instant::now();
        publish_placement(&publisher);
        out.changed().await.unwrap();
        assert_eq!((*out.borrow_and_update(), began.elapsed()), (2, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_sent_in_few_batches() {
        let (publisher, mut out, _pacing) = paced();
        let mut releases = 0;
        for _ in 0..100 {
            publish_placement(&publisher);
            sleep(Duration::from_millis(1)).await;
            releases += usize::from(out.has_changed().unwrap());
            out.borrow_and_update();
        }
        assert!((10..=15).contains(&releases), "{releases}");
    }
}
