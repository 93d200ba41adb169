//! The modelled lanes between replicas: how long a message takes, whether it arrives, and how a gap is repaired.
//!
//! Must not know what a message contains. There are two lanes, as in a real tier:
//! - a *stream* for each ordered pair of replicas: 0.5 ms and a random part; messages stay in order. A lost one leaves
//!   a gap that the next one reveals, and the receiver then asks for what it missed.
//! - *gossip*: pages are written each 50 ms and take a few ms more. So a fact is 33 ms old at the median and 81 ms at
//!   p99 on arrival (measured with chitchat and five nodes). A lost page arrives with a later round.
//!
//! Between two zones a message takes longer, and by a stream one hop more.

use std::sync::Arc;
use std::time::Duration;

use murmuration::chance::Chance;
use murmuration::replication::Batch;
use murmuration::time::Timestamp;

use super::plan::Zones;

/// The least time from one batch with a dispatch to the next. A dispatch after a pause is sent at once.
pub const FLUSH: Duration = Duration::from_millis(8);
/// The least time from one batch to the next without a dispatch.
pub const COALESCE: Duration = Duration::from_millis(20);
/// Gossip pages are written this often.
pub const ROUND: Duration = Duration::from_millis(50);
/// The shortest latency between two replicas.
const WAY: Duration = Duration::from_micros(500);
/// The mean of the additional latency.
const WAY_MORE_MS: f64 = 0.5;
/// The latency of gossip after its round: the median in milliseconds, and the standard deviation of its logarithm.
const SPREADING: (f64, f64) = (6.0, 0.9);
/// A receiver that asked for what it missed asks again after this time.
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// A peer stream.
    Stream,
    /// chitchat.
    Gossip,
}

/// A batch in transit.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its lane.
    pub lane: Lane,
    /// The sending replica.
    pub from: usize,
    /// The receiving replica.
    pub to: usize,
    /// When it was sent.
    pub sent: Timestamp,
    /// Its facts.
    pub batch: Arc<Batch>,
}

/// All lanes of a run.
#[derive(Debug)]
pub struct Lanes {
    streams: Vec<Stream>,
    replicas: usize,
    zones: Zones,
    loss: f64,
    chance: Chance,
    lost: [u64; 2],
    gaps: u64,
}

/// One stream's state at both of its ends.
#[derive(Clone, Debug, Default)]
struct Stream {
    /// The number up to which facts were sent.
    sent: u64,
    /// When the last message arrives; later ones do not overtake it.
    last: Timestamp,
    /// The number up to which all facts were received.
    received: u64,
    /// Until when the receiver waits for what it asked for.
    ask_again_at: Timestamp,
}

// === impl Lanes ===

impl Lanes {
    /// Lanes between `replicas` in these `zones` that lose a share `loss` of all messages.
    pub fn new(replicas: usize, zones: Zones, loss: f64, seed: u64) -> Self {
        let streams = vec![Stream::default(); replicas * replicas];
        Self { streams, replicas, zones, loss, chance: Chance::from_seed(seed ^ 0x6c61_6e65), lost: [0; 2], gaps: 0 }
    }

    /// The number up to which `from` has sent to `to`.
    pub fn sent(&self, from: usize, to: usize) -> u64 {
        self.streams[from * self.replicas + to].sent
    }

    /// Sends a message that ends at `upto` by a stream. Returns when it arrives, or `None` if it is lost.
    pub fn stream(&mut self, from: usize, to: usize, upto: u64, now: Timestamp) -> Option<Timestamp> {
        let takes = self.way(from, to);
        let lost = self.loses(Lane::Stream);
        let stream = &mut self.streams[from * self.replicas + to];
        stream.sent = stream.sent.max(upto);
        if lost {
            return None;
        }
        stream.last = stream.last.max(now + takes);
        Some(stream.last)
    }

    /// When a gossip page that is written now arrives.
    pub fn gossip(&mut self, from: usize, to: usize, now: Timestamp) -> Timestamp {
        let mut at = if self.are_apart(from, to) { now + self.zones.apart } else { now };
        while self.loses(Lane::Gossip) {
            at = at + ROUND;
        }
        let (median, spread) = SPREADING;
        at + Duration::from_secs_f64(median * (spread * self.normal()).exp() / 1000.0)
    }

    /// Records that a message arrived by a stream. If it leaves a gap, the receiver asks the sender again: returns the
    /// latency of this request, and the number after which everything must be sent.
    pub fn came(&mut self, message: &Message, now: Timestamp) -> Option<(Duration, u64)> {
        let way = self.way(message.to, message.from);
        let stream = &mut self.streams[message.from * self.replicas + message.to];
        if message.batch.after <= stream.received {
            stream.received = stream.received.max(message.batch.upto);
            return None;
        }
        if now < stream.ask_again_at {
            return None;
        }
        stream.ask_again_at = now + ASK_AGAIN;
        self.gaps += 1;
        Some((way, stream.received))
    }

    /// Messages that were lost.
    pub fn lost(&self, lane: Lane) -> u64 {
        self.lost[lane as usize]
    }

    /// Gaps that were seen.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// The latency of a message. One from another zone comes by way of a relay: another message within the zone.
    fn way(&mut self, from: usize, to: usize) -> Duration {
        if self.are_apart(from, to) { self.zones.apart + self.near_way() + self.near_way() } else { self.near_way() }
    }

    fn are_apart(&self, from: usize, to: usize) -> bool {
        self.zones.of(from) != self.zones.of(to)
    }

    fn near_way(&mut self) -> Duration {
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
    use murmuration::id::{Incarnation, PoolId, ReplicaId};

    use super::*;

    fn message(after: u64, upto: u64) -> Message {
        let batch = Batch {
            origin: ReplicaId("a".into()),
            incarnation: Incarnation(1),
            pool: PoolId::default(),
            after,
            upto,
            facts: Vec::new(),
        };
        Message { lane: Lane::Stream, from: 0, to: 1, sent: Timestamp::ZERO, batch: Arc::new(batch) }
    }

    #[test]
    fn messages_of_a_stream_stay_in_order() {
        let mut lanes = Lanes::new(2, Zones::ONE, 0.0, 1);
        let came: Vec<_> = (0..1000)
            .map(|n| lanes.stream(0, 1, n, Timestamp::from_micros(n * 100)).map(Timestamp::as_micros))
            .collect();
        assert!(came.is_sorted() && came.iter().all(Option::is_some));
    }

    #[test]
    fn a_gap_is_asked_for_once_and_again_after_a_while() {
        let mut lanes = Lanes::new(2, Zones::ONE, 0.0, 1);
        let at = Timestamp::from_millis;
        assert!(lanes.came(&message(0, 3), at(1)).is_none());
        assert_eq!(lanes.came(&message(5, 6), at(2)).map(|(_, after)| after), Some(3));
        assert!(lanes.came(&message(6, 7), at(3)).is_none());
        assert!(lanes.came(&message(7, 8), at(23)).is_some());
        assert!(lanes.came(&message(3, 8), at(24)).is_none());
        assert!(lanes.came(&message(8, 9), at(25)).is_none());
    }

    #[test]
    fn gossip_arrives_as_late_as_measured_with_chitchat() {
        let mut lanes = Lanes::new(2, Zones::ONE, 0.0, 1);
        let mut ages: Vec<u64> = (0..20_000u64)
            .map(|n| {
                let waited = n % 50_000;
                let waited = waited * 5 / 2;
                waited % 50_000 + lanes.gossip(0, 1, Timestamp::ZERO).as_micros()
            })
            .collect();
        ages.sort_unstable();
        let (p50, p99) = (ages[10_000] / 1000, ages[19_800] / 1000);
        assert!((31..36).contains(&p50) && (76..86).contains(&p99), "{p50} {p99}");
    }

    #[test]
    fn as_many_messages_are_lost_as_configured() {
        let mut lanes = Lanes::new(2, Zones::ONE, 0.01, 1);
        let lost = (0..20_000).filter(|&n| lanes.stream(0, 1, n, Timestamp::ZERO).is_none()).count();
        assert!((120..280).contains(&lost), "{lost}");
        assert_eq!(lanes.lost(Lane::Stream), lost as u64);
    }

    #[test]
    fn between_zones_a_message_takes_longer() {
        let apart = Duration::from_millis(20);
        let mut lanes = Lanes::new(4, Zones { count: 2, apart }, 0.0, 1);
        let mut takes = |to| lanes.stream(0, to, 1, Timestamp::ZERO).map(|at| at.since(Timestamp::ZERO));
        assert!(takes(2) < Some(apart) && takes(1) > Some(apart + 2 * WAY));
    }
}
