//! How old facts are when they arrive, by lane and kind; and how many bytes a lane carried.
//!
//! Must not know how messages travel. A fact counts only if it is new on its lane, because a gossip page repeats what
//! did not change.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::replication::Record;
use murmuration::replication::record::Subject;
use murmuration::time::Timestamp;
use serde::Serialize;

use super::lanes::{Lane, Lanes, Message};

/// The resolution of ages.
const GRAIN: Duration = Duration::from_micros(500);
/// Ages are counted up to 4 s.
const BINS: usize = 8000;

/// The traffic of one lane.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneReport {
    /// Messages, each counted once per receiving peer.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that each replica sent per second.
    pub bytes_per_s_per_replica: f64,
    /// Messages that were lost.
    pub lost: u64,
    /// How often a receiver asked for what it missed.
    pub gaps: u64,
    /// Ages of new facts on arrival, by kind of fact.
    pub ages: BTreeMap<&'static str, Ages>,
}

/// Ages of one kind of fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ages {
    /// How many arrived.
    pub facts: u64,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// The 99th percentile, in milliseconds.
    pub p99_ms: f64,
}

/// The counts of both lanes.
#[derive(Debug, Default)]
pub struct LaneCounts {
    messages: [u64; 2],
    bytes: [u64; 2],
    bins: BTreeMap<(Lane, &'static str), Vec<u32>>,
    newest: BTreeMap<(Lane, usize, usize, Option<Subject>), u64>,
}

// === impl LaneCounts ===

impl LaneCounts {
    /// Records that `messages` messages of `bytes` bytes each were sent.
    pub fn sent(&mut self, lane: Lane, messages: u64, bytes: usize) {
        self.messages[lane as usize] += messages;
        self.bytes[lane as usize] += messages * bytes as u64;
    }

    /// Records that a message arrived at `now`.
    pub fn came(&mut self, message: &Message, now: Timestamp) {
        let way = now.since(message.sent);
        for fact in &message.batch.facts {
            let key = (message.lane, message.from, message.to, fact.record.subject());
            let newest = self.newest.entry(key).or_default();
            if fact.seq <= *newest {
                continue;
            }
            *newest = fact.seq;
            let bins = self.bins.entry((message.lane, kind(&fact.record))).or_insert_with(|| vec![0; BINS]);
            let bin = ((fact.age + way).as_micros() / GRAIN.as_micros()) as usize;
            bins[bin.min(BINS - 1)] += 1;
        }
    }

    /// The traffic of `lane` in `span`, for `replicas` replicas.
    pub fn report(&self, lane: Lane, lanes: &Lanes, replicas: usize, span: Duration) -> LaneReport {
        let bytes = self.bytes[lane as usize];
        let of_lane = self.bins.iter().filter(|((of, _), _)| *of == lane);
        LaneReport {
            messages: self.messages[lane as usize],
            bytes,
            bytes_per_s_per_replica: bytes as f64 / span.as_secs_f64().max(1e-6) / replicas.max(1) as f64,
            lost: lanes.lost(lane),
            gaps: if lane == Lane::Stream { lanes.gaps() } else { 0 },
            ages: of_lane.map(|((_, kind), bins)| (*kind, ages(bins))).collect(),
        }
    }
}

fn kind(record: &Record) -> &'static str {
    match record {
        Record::InFlight(_) | Record::Removed(_) => "in_flight",
        Record::Placement(_) | Record::PlacementRevoked(_) | Record::CacheCleared(_) => "placement",
        Record::Failing(_) => "failing",
        Record::Bound(_) => "binding",
        Record::Load(_) | Record::Unreachable(_) => "load",
    }
}

fn ages(bins: &[u32]) -> Ages {
    let facts: u64 = bins.iter().map(|&n| u64::from(n)).sum();
    let quantile = |share: f64| {
        let mut left = (facts as f64 * share).ceil() as u64;
        let bin = bins.iter().position(|&n| {
            left = left.saturating_sub(u64::from(n));
            left == 0
        });
        bin.unwrap_or(0) as f64 * GRAIN.as_secs_f64() * 1000.0
    };
    Ages { facts, p50_ms: quantile(0.50), p99_ms: quantile(0.99) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_read_off_the_bins() {
        let mut bins = vec![0; BINS];
        (bins[2], bins[10], bins[100]) = (50, 48, 2);
        assert_eq!(ages(&bins), Ages { facts: 100, p50_ms: 1.0, p99_ms: 50.0 });
        assert_eq!(ages(&[0; 4]).facts, 0);
    }
}
