//! The publisher: what this replica publishes about one pool, shared by the scheduler that writes it and the lanes that
//! send it.
//!
//! Must not know lanes. Nothing queues up here: a slow lane finds the newest fact on each subject when it reads. The
//! log's lock is held only while references are taken or facts are appended. Encoding and writing happen outside of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::replication::{Batch, FactLog, Page, Pages, Record, codec};
use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::Subscribers;
use crate::clock::Clock;

/// How long a batch that was made for one follower serves others at the same position: its ages are off by less than
/// that.
const BATCH_REUSED_FOR: Duration = Duration::from_millis(1);
/// The age up to which a copy tells how old a fact is. Nothing that old counts any more.
const COPIED_AGE_MAX: Duration = Duration::from_secs(3600);

/// The publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    me: ReplicaId,
    pool: PoolId,
    incarnation: Arc<watch::Sender<Incarnation>>,
    version: u8,
    fact_log: Arc<Mutex<FactLog>>,
    head: Arc<watch::Sender<u64>>,
    urgent: Arc<watch::Sender<u64>>,
    last_batches: Arc<Mutex<LastBatches>>,
    subscribers: Subscribers,
    clock: Clock,
    /// Added to the clock: what a copy holds may be older than this replica.
    ahead: Duration,
}

/// The last batch of each format, and when it was made.
type LastBatches = BTreeMap<u8, (Timestamp, EncodedBatch)>;

/// A batch as bytes, shared by all followers at the same position.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    /// It continues after this number.
    pub after: u64,
    /// The highest number that it covers.
    pub upto: u64,
    /// The batch; `None` where its facts fit no batch.
    pub bytes: Option<Bytes>,
}

// === impl Publisher ===

impl Publisher {
    /// The publisher of `me` in this `incarnation`, for the default pool.
    pub fn new(me: ReplicaId, incarnation: Incarnation, clock: Clock) -> Self {
        Self::of_pool(PoolId::default(), me, incarnation, clock)
    }

    /// The publisher of `me` in this `incarnation`, for `pool`.
    pub fn of_pool(pool: PoolId, me: ReplicaId, incarnation: Incarnation, clock: Clock) -> Self {
        let fact_log = FactLog::new(me.clone(), incarnation).of_pool(pool.clone());
        let number = || Arc::new(watch::channel(0).0);
        Self {
            me,
            pool,
            incarnation: Arc::new(watch::channel(incarnation).0),
            version: fact_log.version(),
            fact_log: Arc::new(Mutex::new(fact_log)),
            head: number(),
            urgent: number(),
            last_batches: Arc::default(),
            subscribers: Subscribers::default(),
            clock,
            ahead: Duration::ZERO,
        }
    }

    /// A copy of what `origin` publishes about `pool` in this `incarnation`, for others to follow in its place.
    pub fn copy_of(pool: PoolId, origin: ReplicaId, incarnation: Incarnation, clock: Clock) -> Self {
        Self { ahead: COPIED_AGE_MAX, ..Self::of_pool(pool, origin, incarnation, clock) }
    }

    /// Takes what the origin of this copy sent. `false` when it does not continue what was taken before.
    pub fn copy(&self, batch: &Batch) -> bool {
        let now = self.now();
        let mut fact_log = self.fact_log();
        let taken = fact_log.copy(batch, now);
        let head = fact_log.head();
        drop(fact_log);
        // The origin has paced it, so it goes on at once.
        self.advance(head, true);
        taken
    }

    /// Limits it to wire versions up to `version`.
    #[must_use]
    pub fn upto(mut self, version: u8) -> Self {
        self.fact_log().limit(version);
        self.version = version;
        self
    }

    /// The pool that it publishes about.
    pub fn pool(&self) -> &PoolId {
        &self.pool
    }

    /// The highest wire version that it sends.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Continues as `incarnation`. Streams of the former one end, so that followers call again.
    pub fn begin(&self, incarnation: Incarnation) {
        if self.incarnation() != incarnation {
            let mut last = self.last_batches();
            self.fact_log().begin(incarnation);
            last.clear();
            self.incarnation.send_replace(incarnation);
        }
    }

    /// Publishes records, each with the time since which it holds.
    pub fn publish(&self, records: impl IntoIterator<Item = (Record, Timestamp)>) {
        let mut urgent = false;
        let encoded = records.into_iter().filter_map(|(record, at)| {
            urgent |= record.is_urgent();
            FactLog::encode(self.version, record).map(|(record, encoded)| (record, encoded, at))
        });
        let encoded: Vec<_> = encoded.collect();
        let mut fact_log = self.fact_log();
        encoded.into_iter().for_each(|(record, encoded, at)| fact_log.append(record, encoded, at));
        let head = fact_log.head();
        drop(fact_log);
        self.advance(head, urgent);
    }

    /// Withdraws all open work, after a restart of the scheduler, which then holds none.
    pub fn withdraw_all(&self) {
        let now = self.now();
        let mut fact_log = self.fact_log();
        fact_log.withdraw(now);
        let head = fact_log.head();
        drop(fact_log);
        self.advance(head, true);
    }

    /// Whether a follower that has all up to `after` can get what it missed; else it must get everything again.
    pub fn continues(&self, after: u64) -> bool {
        self.fact_log().continues(after)
    }

    /// The facts after `after`, at most `most` of them; `None` when there are none. It begins at 0 where it can't
    /// continue.
    pub fn since(&self, after: u64, most: usize) -> Option<Batch> {
        self.fact_log().since(after, most, self.now())
    }

    /// The same as bytes for a reader of wire version `version`, up to the number `least` at least; facts too many for
    /// one batch come in several. The same call a moment later gives the same bytes.
    pub fn batch_after(&self, version: u8, after: u64, least: u64, mut most: usize) -> Option<EncodedBatch> {
        let now = self.now();
        let version = version.min(self.version);
        let format = codec::format_for(version, &self.pool);
        let mut last = self.last_batches();
        if let Some((made, encoded)) = last.get(&format)
            && (encoded.after, encoded.upto >= least) == (after, true)
            && now.since(*made) < BATCH_REUSED_FOR
        {
            return Some(encoded.clone());
        }
        loop {
            let batch = self.fact_log().batch_after(after, most, now)?;
            let bytes = match batch.bytes(version) {
                Ok(bytes) => Some(bytes.into()),
                Err(_) if most > 1 => {
                    most /= 2;
                    continue;
                }
                Err(_) => None,
            };
            let encoded = EncodedBatch { after: batch.after, upto: batch.upto, bytes };
            last.insert(format, (now, encoded.clone()));
            return Some(encoded);
        }
    }

    /// Placements and bindings of any replica, each with its age, as batches of at most `most`.
    pub fn history(&self, records: &[(Record, Duration)], most: usize) -> Vec<Batch> {
        records.chunks(most.max(1)).map(|some| self.fact_log().history(some.to_vec())).collect()
    }

    /// The gossip pages that changed since `pages` were last written, for readers that all know wire version `readers`.
    pub fn write(&self, pages: &mut Pages, readers: u8) -> Vec<Page> {
        pages.set_readers(readers.min(self.version));
        let snapshot = self.fact_log().snapshot(pages.placements_from(), self.now());
        pages.update(&snapshot)
    }

    /// The number of the last fact, and its changes.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The number of the last fact when an urgent one was last published, and its changes. Peers must get urgent facts
    /// at once.
    pub fn urgent(&self) -> watch::Receiver<u64> {
        self.urgent.subscribe()
    }

    /// The peers that follow by stream.
    pub fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    /// The name of this replica.
    pub fn me(&self) -> ReplicaId {
        self.me.clone()
    }

    /// Its current incarnation.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.borrow()
    }

    /// Its current incarnation, and changes of it.
    pub fn incarnation_changes(&self) -> watch::Receiver<Incarnation> {
        self.incarnation.subscribe()
    }

    fn now(&self) -> Timestamp {
        self.clock.now() + self.ahead
    }

    fn advance(&self, head: u64, urgent: bool) {
        if urgent {
            self.urgent.send_if_modified(|known| std::mem::replace(known, head) != head);
        }
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    fn last_batches(&self) -> MutexGuard<'_, LastBatches> {
        // Each is replaced as a whole.
        self.last_batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fact_log(&self) -> MutexGuard<'_, FactLog> {
        // A panic can't leave the log half changed.
        self.fact_log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
