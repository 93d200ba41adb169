//! The replica's publisher: what it has to say, shared by the scheduler that says and the lanes that carry.
//!
//! Must not know lanes. Nothing queues up here: a lane that is slow finds the newest word on each subject when it comes. The
//! log's lock is held for as long as references are taken or facts are noted; encoding and writing happen outside of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::{Batch, FactLog, Page, Pages, Record};
use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::Subscribers;
use crate::clock::Clock;

/// For how long a batch that was cut for one follower serves others that heard as much: its ages are off by less than that.
const BATCH_REUSED_FOR: Duration = Duration::from_millis(1);

/// The publisher. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Publisher {
    me: ReplicaId,
    incarnation: Arc<watch::Sender<Incarnation>>,
    version: u8,
    fact_log: Arc<Mutex<FactLog>>,
    head: Arc<watch::Sender<u64>>,
    urgent: Arc<watch::Sender<u64>>,
    last_batch: Arc<Mutex<Option<(Timestamp, EncodedBatch)>>>,
    subscribers: Subscribers,
    clock: Clock,
}

/// A batch as bytes, shared by all followers that heard as much.
#[derive(Clone, Debug)]
pub struct EncodedBatch {
    /// It continues what was heard up to this number.
    pub after: u64,
    /// The highest number it speaks for.
    pub upto: u64,
    /// The batch; nothing where its facts fit no batch.
    pub bytes: Option<Bytes>,
}

// === impl Publisher ===

impl Publisher {
    /// The publisher of `me` in the life `incarnation`.
    pub fn new(me: ReplicaId, incarnation: Incarnation, clock: Clock) -> Self {
        let fact_log = FactLog::new(me.clone(), incarnation);
        let number = || Arc::new(watch::channel(0).0);
        Self {
            me,
            incarnation: Arc::new(watch::channel(incarnation).0),
            version: fact_log.version(),
            fact_log: Arc::new(Mutex::new(fact_log)),
            head: number(),
            urgent: number(),
            last_batch: Arc::default(),
            subscribers: Subscribers::default(),
            clock,
        }
    }

    /// The publisher of a replica that speaks no later wire version than `version`.
    #[must_use]
    pub fn upto(mut self, version: u8) -> Self {
        self.fact_log().limit(version);
        self.version = version;
        self
    }

    /// The highest wire version that it speaks.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Goes on as `incarnation`. Streams that tell in the former one end, so that followers call again.
    pub fn begin(&self, incarnation: Incarnation) {
        if self.incarnation() != incarnation {
            let mut last = self.last_batch();
            self.fact_log().begin(incarnation);
            *last = None;
            self.incarnation.send_replace(incarnation);
        }
    }

    /// Says what is true, each since its moment.
    pub fn publish(&self, words: impl IntoIterator<Item = (Record, Timestamp)>) {
        let mut urgent = false;
        let encoded = words.into_iter().filter_map(|(record, at)| {
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

    /// The scheduler was born again and holds nothing: all open work is taken back.
    pub fn withdraw_all(&self) {
        let now = self.clock.now();
        let mut fact_log = self.fact_log();
        fact_log.withdraw(now);
        let head = fact_log.head();
        drop(fact_log);
        self.advance(head, true);
    }

    /// Whether whoever heard all up to `after` can be told what it missed; else it must hear all anew.
    pub fn continues(&self, after: u64) -> bool {
        self.fact_log().continues(after)
    }

    /// What was said after `after`, at most `most` facts; `None` when there is nothing. It begins at 0 where it can't continue.
    pub fn since(&self, after: u64, most: usize) -> Option<Batch> {
        self.fact_log().since(after, most, self.clock.now())
    }

    /// The same as bytes, up to the number `least` at least; facts too many for one batch come in several. Whoever asks for
    /// the same a moment later gets the same bytes.
    pub fn batch_after(&self, after: u64, least: u64, mut most: usize) -> Option<EncodedBatch> {
        let now = self.clock.now();
        let mut last = self.last_batch();
        if let Some((made, told)) = &*last
            && (told.after, told.upto >= least) == (after, true)
            && now.since(*made) < BATCH_REUSED_FOR
        {
            return Some(told.clone());
        }
        loop {
            let cut = self.fact_log().batch_after(after, most, now)?;
            let bytes = match cut.bytes() {
                Ok(bytes) => Some(bytes.into()),
                Err(_) if most > 1 => {
                    most /= 2;
                    continue;
                }
                Err(_) => None,
            };
            let told = EncodedBatch { after: cut.after, upto: cut.upto, bytes };
            *last = Some((now, told.clone()));
            return Some(told);
        }
    }

    /// Placements and bindings that somebody made, each so long ago, as batches of at most `most`.
    pub fn history(&self, told: &[(Record, Duration)], most: usize) -> Vec<Batch> {
        told.chunks(most.max(1)).map(|some| self.fact_log().history(some.to_vec())).collect()
    }

    /// The gossip pages that changed since `pages` were written last.
    pub fn write(&self, pages: &mut Pages) -> Vec<Page> {
        let snapshot = self.fact_log().snapshot(pages.placements_from(), self.clock.now());
        pages.update(&snapshot)
    }

    /// The number of the last fact, and its changes.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The number of the last fact when something was said that peers must know at once, and its changes.
    pub fn urgent(&self) -> watch::Receiver<u64> {
        self.urgent.subscribe()
    }

    /// Who hears it at once.
    pub fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }

    /// Who speaks.
    pub fn me(&self) -> ReplicaId {
        self.me.clone()
    }

    /// In which life.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.borrow()
    }

    /// In which incarnation, and its changes.
    pub fn begun(&self) -> watch::Receiver<Incarnation> {
        self.incarnation.subscribe()
    }

    fn advance(&self, head: u64, urgent: bool) {
        if urgent {
            self.urgent.send_if_modified(|known| std::mem::replace(known, head) != head);
        }
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    fn last_batch(&self) -> MutexGuard<'_, Option<(Timestamp, EncodedBatch)>> {
        // It is replaced whole.
        self.last_batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fact_log(&self) -> MutexGuard<'_, FactLog> {
        // Every change of a fact_log is whole before anything in it can panic.
        self.fact_log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
