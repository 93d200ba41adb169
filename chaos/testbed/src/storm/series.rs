//! The observations, second by second, as lines of a picture.
//!
//! Must not know how lines are drawn.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::Stretch;
use super::run::Observed;
use super::watch::{Observations, Reading};

/// A line: its name, and its points in seconds and its own unit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// Cumulative counts of facts by age: a bucket's upper edge in seconds, and its count; ascending.
pub(super) type Buckets = Vec<(f64, f64)>;

/// Facts received between two readings of a replica, by lane: when, and how old.
pub(super) fn words(observations: &Observations) -> Vec<(Duration, String, Buckets)> {
    let mut last: BTreeMap<usize, &Reading> = BTreeMap::new();
    let mut words = Vec::new();
    for reading in &observations.readings {
        let before = last.insert(reading.replica, reading);
        for (lane, counts) in &reading.ages {
            let Some(old) = before.and_then(|before| before.ages.get(lane)) else { continue };
            // The counters of a new incarnation start at zero.
            let restarted = old.iter().zip(counts).any(|(old, new)| new.1 < old.1);
            let base = |index: usize| if restarted { 0.0 } else { old.get(index).map_or(0.0, |one| one.1) };
            let more = counts.iter().enumerate().map(|(index, (most, count))| (*most, count - base(index)));
            words.push((reading.at, lane.clone(), more.collect()));
        }
    }
    words
}

/// Adds counts of the same buckets.
pub(super) fn add(sum: &mut Vec<(f64, f64)>, more: &[(f64, f64)]) {
    if sum.len() < more.len() {
        *sum = more.iter().enumerate().map(|(i, (most, _))| (*most, sum.get(i).map_or(0.0, |one| one.1))).collect();
    }
    sum.iter_mut().zip(more).for_each(|(sum, more)| sum.1 += more.1);
}

/// The 99th percentile: the upper edge of its bucket.
pub(super) fn p99(counts: &[(f64, f64)]) -> Option<f64> {
    let all = counts.last().map(|one| one.1).filter(|all| *all > 0.0)?;
    counts.iter().find(|(_, count)| *count >= all * 0.99).map(|(most, _)| *most).filter(|most| most.is_finite())
}

/// First tokens by the second in which their request was due: median and 99th percentile, ms.
pub(super) fn latency(observed: &Observed) -> [Line; 2] {
    let by = |pick: fn(&Stretch) -> Option<f64>, name: &str| line(name, seconds(observed), pick);
    [by(|one| one.first_token_p50_ms, "p50"), by(|one| one.first_token_p99_ms, "p99")]
}

/// The cached share of prompt tokens.
pub(super) fn cached(observed: &Observed) -> Line {
    line("cached share", seconds(observed), |one| one.cached_share)
}

/// Failed requests.
pub(super) fn failed(observed: &Observed) -> Line {
    line("failed", seconds(observed), |one| Some(one.failed as f64))
}

/// Agreement of the replicas that were asked.
pub(super) fn agreement(observed: &Observed) -> Line {
    let asked = observed.observations.asked.iter();
    let points = asked.filter_map(|asked| Some((asked.at.as_secs_f64(), asked.agreement()?)));
    Line { name: "agreement".to_owned(), points: points.collect() }
}

/// Age of received facts, 99th percentile, ms, for each lane.
pub(super) fn ages(observed: &Observed) -> Vec<Line> {
    let mut sums: BTreeMap<String, BTreeMap<u64, Vec<(f64, f64)>>> = BTreeMap::new();
    for (at, lane, words) in words(&observed.observations) {
        add(sums.entry(lane).or_default().entry(at.as_secs()).or_default(), &words);
    }
    let lines = sums.into_iter().map(|(name, seconds)| Line {
        name,
        points: seconds.iter().filter_map(|(second, sum)| Some((*second as f64, p99(sum)? * 1e3))).collect(),
    });
    lines.collect()
}

fn seconds(observed: &Observed) -> Vec<Stretch> {
    let last = observed.tally.samples.iter().map(|sample| sample.due.as_secs()).max().unwrap_or(0);
    let of = |second| observed.tally.samples.iter().filter(move |sample| sample.due.as_secs() == second);
    (0..=last).map(|second| Stretch::of(of(second))).collect()
}

fn line(name: &str, seconds: Vec<Stretch>, pick: impl Fn(&Stretch) -> Option<f64>) -> Line {
    let points = seconds.iter().enumerate().filter_map(|(second, one)| Some((second as f64 + 0.5, pick(one)?)));
    Line { name: name.to_owned(), points: points.collect() }
}
