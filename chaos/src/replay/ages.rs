//! How old facts are when they come, by lane and kind; and how many bytes a lane carried.
//!
//! Must not know how letters travel. A fact counts when it is news by its lane: a gossip page repeats what did not change.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::replication::Record;
use murmuration::replication::record::Subject;
use murmuration::time::Timestamp;
use serde::Serialize;

use super::lanes::{Lane, Lanes, Letter};

/// The grain of what is kept of ages.
const GRAIN: Duration = Duration::from_micros(500);
/// Ages are told apart up to 4 s.
const BINS: usize = 8000;

/// What one lane did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LaneReport {
    /// Letters, one for each peer that it was sent to.
    pub letters: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that each replica sent in a second.
    pub bytes_per_s_per_replica: f64,
    /// Letters that were lost.
    pub lost: u64,
    /// Times that a hearer asked for what it missed.
    pub gaps: u64,
    /// Ages on arrival of what was news, by kind of fact.
    pub ages: BTreeMap<&'static str, Ages>,
}

/// Ages of one kind of fact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Ages {
    /// How many came.
    pub facts: u64,
    /// The median, in milliseconds.
    pub p50_ms: f64,
    /// What one in a hundred exceeds, in milliseconds.
    pub p99_ms: f64,
}

/// The books of both lanes.
#[derive(Debug, Default)]
pub struct Books {
    letters: [u64; 2],
    bytes: [u64; 2],
    bins: BTreeMap<(Lane, &'static str), Vec<u32>>,
    newest: BTreeMap<(Lane, usize, usize, Option<Subject>), u64>,
}

// === impl Books ===

impl Books {
    /// Notes that `letters` letters of `bytes` bytes each were sent.
    pub fn sent(&mut self, lane: Lane, letters: u64, bytes: usize) {
        self.letters[lane as usize] += letters;
        self.bytes[lane as usize] += letters * bytes as u64;
    }

    /// Notes that a letter came at `now`.
    pub fn came(&mut self, letter: &Letter, now: Timestamp) {
        let way = now.since(letter.sent);
        for fact in &letter.batch.facts {
            let key = (letter.lane, letter.from, letter.to, fact.record.subject());
            let newest = self.newest.entry(key).or_default();
            if fact.seq <= *newest {
                continue;
            }
            *newest = fact.seq;
            let bins = self.bins.entry((letter.lane, kind(&fact.record))).or_insert_with(|| vec![0; BINS]);
            let bin = ((fact.age + way).as_micros() / GRAIN.as_micros()) as usize;
            bins[bin.min(BINS - 1)] += 1;
        }
    }

    /// What `lane` did in `span` for `replicas` replicas.
    pub fn report(&self, lane: Lane, lanes: &Lanes, replicas: usize, span: Duration) -> LaneReport {
        let bytes = self.bytes[lane as usize];
        let of_lane = self.bins.iter().filter(|((of, _), _)| *of == lane);
        LaneReport {
            letters: self.letters[lane as usize],
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
