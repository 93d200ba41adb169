//! The replica's voice: what it has to say, shared by the scheduler that says and the lanes that carry.
//!
//! Must not know lanes. Nothing queues up here: a lane that is slow finds the newest word on each subject when it comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::share::{Batch, Page, Pages, Record, Speaker};
use murmuration::time::Timestamp;
use tokio::sync::watch;

use super::Audience;
use crate::clock::Clock;

/// The voice. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Voice {
    speaker: Arc<Mutex<Speaker>>,
    head: Arc<watch::Sender<u64>>,
    audience: Audience,
    clock: Clock,
}

// === impl Voice ===

impl Voice {
    /// The voice of `me` in the life `incarnation`.
    pub fn new(me: ReplicaId, incarnation: Incarnation, clock: Clock) -> Self {
        let speaker = Arc::new(Mutex::new(Speaker::new(me, incarnation)));
        Self { speaker, head: Arc::new(watch::channel(0).0), audience: Audience::default(), clock }
    }

    /// The voice of a replica that speaks no later wire version than `version`.
    #[must_use]
    pub fn upto(self, version: u8) -> Self {
        self.speaker().limit(version);
        self
    }

    /// The highest wire version that it speaks.
    pub fn version(&self) -> u8 {
        self.speaker().version()
    }

    /// Goes on as `incarnation`. Streams that tell in the former one end, so that followers call again.
    pub fn begin(&self, incarnation: Incarnation) {
        if self.incarnation() != incarnation {
            self.speaker().begin(incarnation);
            // Whoever waits for news looks up, and finds another incarnation.
            self.head.send_modify(|_| {});
        }
    }

    /// Says what is true, each since its moment.
    pub fn say(&self, words: impl IntoIterator<Item = (Record, Timestamp)>) {
        let mut speaker = self.speaker();
        words.into_iter().for_each(|(record, at)| speaker.say(record, at));
        let head = speaker.head();
        drop(speaker);
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    /// The scheduler was born again and holds nothing: all open work is taken back.
    pub fn reborn(&self) {
        let now = self.clock.now();
        self.speaker().withdraw(now);
        let head = self.speaker().head();
        self.head.send_replace(head);
    }

    /// What was said after `after`, at most `most` facts; `None` when there is nothing.
    pub fn since(&self, after: u64, most: usize) -> Option<Batch> {
        self.speaker().since(after, most, self.clock.now())
    }

    /// Placements and bindings that somebody made, each so long ago, as batches of at most `most`.
    pub fn history(&self, told: &[(Record, Duration)], most: usize) -> Vec<Batch> {
        told.chunks(most.max(1)).map(|some| self.speaker().history(some.to_vec())).collect()
    }

    /// The gossip pages that changed since `pages` were written last.
    pub fn write(&self, pages: &mut Pages) -> Vec<Page> {
        pages.write(&self.speaker(), self.clock.now())
    }

    /// The number of the last fact, and its changes.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// Who hears it at once.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// Who speaks.
    pub fn me(&self) -> ReplicaId {
        self.speaker().me().clone()
    }

    /// In which life.
    pub fn incarnation(&self) -> Incarnation {
        self.speaker().incarnation()
    }

    fn speaker(&self) -> MutexGuard<'_, Speaker> {
        // Every change of a speaker is whole before anything in it can panic.
        self.speaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
