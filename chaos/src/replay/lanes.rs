//! The modelled lanes between replicas: how long a letter takes, whether it comes at all, and how a gap is repaired.
//!
//! Must not know what a letter says. Two lanes, as in a real tier:
//! - a *stream* for each ordered pair of replicas: 0.5 ms and a bit, letters stay in order; a lost one leaves a gap that the
//!   next one shows, and the hearer then asks for what it missed;
//! - *gossip*: pages are written each 50 ms and spread in a few ms more, so that a fact is 33 ms old at the median and 81 ms
//!   at p99 when it comes (chitchat's, measured with five nodes); a lost page comes with a later round.

use std::sync::Arc;
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::replication::Batch;
use murmuration::time::Timestamp;

/// Streams are flushed this often while there is something to tell.
pub const FLUSH: Duration = Duration::from_millis(5);
/// Gossip pages are written this often.
pub const ROUND: Duration = Duration::from_millis(50);
/// The shortest way between two replicas.
const WAY: Duration = Duration::from_micros(500);
/// The mean of what a way takes longer.
const WAY_MORE_MS: f64 = 0.5;
/// What gossip takes besides waiting for its round: the median in milliseconds, and its spread in logarithms.
const SPREADING: (f64, f64) = (6.0, 0.9);
/// A hearer that asked for what it missed asks again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How letters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A peer stream.
    Stream,
    /// chitchat.
    Gossip,
}

/// A batch on its way.
#[derive(Clone, Debug)]
pub struct Letter {
    /// By which lane.
    pub lane: Lane,
    /// From whom.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// When it was sent.
    pub sent: Timestamp,
    /// What it says.
    pub batch: Arc<Batch>,
}

/// All lanes of a run.
#[derive(Debug)]
pub struct Lanes {
    streams: Vec<Stream>,
    replicas: usize,
    loss: f64,
    chance: Chance,
    lost: [u64; 2],
    gaps: u64,
}

/// One stream's state at both of its ends.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The number up to which was sent.
    sent: u64,
    /// When the last letter comes: later ones don't overtake it.
    last: Timestamp,
    /// The number up to which all was heard.
    heard: u64,
    /// Until when the hearer waits for what it asked for.
    patient: Timestamp,
}

// === impl Lanes ===

impl Lanes {
    /// Lanes between `replicas` that lose a share `loss` of all letters.
    pub fn new(replicas: usize, loss: f64, seed: u64) -> Self {
        let streams = vec![Stream::default(); replicas * replicas];
        Self { streams, replicas, loss, chance: Chance::from_seed(seed ^ 0x6c61_6e65), lost: [0; 2], gaps: 0 }
    }

    /// The number up to which `from` has told `to`.
    pub fn sent(&self, from: usize, to: usize) -> u64 {
        self.streams[from * self.replicas + to].sent
    }

    /// Puts a letter that ends at `upto` into a stream; when it comes, or `None` when it is lost.
    pub fn stream(&mut self, from: usize, to: usize, upto: u64, now: Timestamp) -> Option<Timestamp> {
        let takes = self.way();
        let lost = self.loses(Lane::Stream);
        let stream = &mut self.streams[from * self.replicas + to];
        stream.sent = stream.sent.max(upto);
        if lost {
            return None;
        }
        stream.last = stream.last.max(now + takes);
        Some(stream.last)
    }

    /// When a gossip page that is written now comes.
    pub fn gossip(&mut self, now: Timestamp) -> Timestamp {
        let mut at = now;
        while self.loses(Lane::Gossip) {
            at = at + ROUND;
        }
        let (median, spread) = SPREADING;
        at + Duration::from_secs_f64(median * (spread * self.normal()).exp() / 1000.0)
    }

    /// Notes that a letter came by a stream. `Some` when it does not continue what was heard: after how long the fact_log
    /// hears that it is to tell everything after the number given.
    pub fn came(&mut self, letter: &Letter, now: Timestamp) -> Option<(Duration, u64)> {
        let way = self.way();
        let stream = &mut self.streams[letter.from * self.replicas + letter.to];
        if letter.batch.after <= stream.heard {
            stream.heard = stream.heard.max(letter.batch.upto);
            return None;
        }
        if now < stream.patient {
            return None;
        }
        stream.patient = now + ASK_AGAIN;
        self.gaps += 1;
        Some((way, stream.heard))
    }

    /// Letters that were lost.
    pub fn lost(&self, lane: Lane) -> u64 {
        self.lost[lane as usize]
    }

    /// Gaps that were seen.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    fn way(&mut self) -> Duration {
        let more = (-(1.0 - self.chance.unit()).ln()).min(10.0) * WAY_MORE_MS;
        WAY + Duration::from_secs_f64(more / 1000.0)
    }

    fn loses(&mut self, lane: Lane) -> bool {
        let lost = self.loss > 0.0 && self.chance.unit() < self.loss;
        self.lost[lane as usize] += u64::from(lost);
        lost
    }

    /// A number with a normal distribution (Box and Muller).
    fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.chance.unit(), self.chance.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

#[cfg(test)]
mod tests {
    use murmuration::id::{Incarnation, ReplicaId};

    use super::*;

    fn letter(after: u64, upto: u64) -> Letter {
        let batch =
            Batch { origin: ReplicaId("a".into()), incarnation: Incarnation(1), after, upto, facts: Vec::new() };
        Letter { lane: Lane::Stream, from: 0, to: 1, sent: Timestamp::ZERO, batch: Arc::new(batch) }
    }

    #[test]
    fn letters_of_a_stream_stay_in_order() {
        let mut lanes = Lanes::new(2, 0.0, 1);
        let came: Vec<_> = (0..1000)
            .map(|n| lanes.stream(0, 1, n, Timestamp::from_micros(n * 100)).map(Timestamp::as_micros))
            .collect();
        assert!(came.is_sorted() && came.iter().all(Option::is_some));
    }

    #[test]
    fn a_gap_is_asked_for_once_and_then_again() {
        let mut lanes = Lanes::new(2, 0.0, 1);
        let at = Timestamp::from_millis;
        assert!(lanes.came(&letter(0, 3), at(1)).is_none());
        assert_eq!(lanes.came(&letter(5, 6), at(2)).map(|(_, after)| after), Some(3));
        assert!(lanes.came(&letter(6, 7), at(3)).is_none());
        assert!(lanes.came(&letter(7, 8), at(23)).is_some());
        assert!(lanes.came(&letter(3, 8), at(24)).is_none());
        assert!(lanes.came(&letter(8, 9), at(25)).is_none());
    }

    #[test]
    fn gossip_comes_as_late_as_chitchat_was_measured_to() {
        let mut lanes = Lanes::new(2, 0.0, 1);
        let mut ages: Vec<u64> = (0..20_000u64)
            .map(|n| {
                let waited = n % 50_000;
                let waited = waited * 5 / 2;
                waited % 50_000 + lanes.gossip(Timestamp::ZERO).as_micros()
            })
            .collect();
        ages.sort_unstable();
        let (p50, p99) = (ages[10_000] / 1000, ages[19_800] / 1000);
        assert!((31..36).contains(&p50) && (76..86).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn losses_are_as_many_as_were_asked_for() {
        let mut lanes = Lanes::new(2, 0.01, 1);
        let lost = (0..20_000).filter(|&n| lanes.stream(0, 1, n, Timestamp::ZERO).is_none()).count();
        assert!((120..280).contains(&lost), "{lost}");
        assert_eq!(lanes.lost(Lane::Stream), lost as u64);
    }
}
