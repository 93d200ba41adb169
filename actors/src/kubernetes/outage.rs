//! When failures of a watch are an outage, and how long it waits after each.
//!
//! Must not know why it failed. One cut connection is no outage: the watch goes on where it was cut. After a second
//! failure within a minute the objects are listed anew, which also notices an API server that was restored from a
//! backup.

use std::time::Duration;

use murmuration::chance::Chance;
use tokio::time::Instant;

/// Two failures within this time are an outage.
const TOGETHER: Duration = Duration::from_secs(60);
/// The pause after the first failure.
const SHORTEST: Duration = Duration::from_millis(100);
/// The pause after many failures. It is short, because a pool must be right two seconds after the API server is back.
const LONGEST: Duration = Duration::from_millis(1_500);
/// The pause after the second answer in a row that only an operator can change, such as a right that is missing. One
/// alone may come from an API server that starts.
const REFUSED: Duration = Duration::from_secs(5);

/// The failures of one watch.
#[derive(Debug)]
pub(super) struct Outage {
    seed: u64,
    failures: u32,
    last: Option<Instant>,
    /// When the failures began that are an outage now.
    since: Option<Instant>,
    /// Whether the last failure was a refusal.
    refused: bool,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// How long to wait.
    pub(super) pause: Duration,
    /// Failures in a row.
    pub(super) failures: u32,
    /// Whether there is an outage now, so that everything is to be listed anew.
    pub(super) outage: bool,
}

// === impl Outage ===

impl Outage {
    /// No failures yet. Watches with different `who` pause for different times.
    pub(super) fn new(who: &str) -> Self {
        let seed = murmuration::id::ReplicaId(who.to_owned()).key();
        Self { seed, failures: 0, last: None, since: None, refused: false }
    }

    /// Records a failure at `now`; `refused` where the API server answered, and repeating the question changes nothing.
    pub(super) fn failed(&mut self, now: Instant, refused: bool) -> Step {
        let together = self.last.is_some_and(|last| now.duration_since(last) < TOGETHER);
        self.failures = if together || self.since.is_some() { self.failures.saturating_add(1) } else { 1 };
        if self.failures > 1 && self.since.is_none() {
            self.since = self.last.filter(|_| together).or(Some(now));
        }
        self.last = Some(now);
        let doubled = SHORTEST.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST);
        let again = std::mem::replace(&mut self.refused, refused) && refused;
        let whole = if again { REFUSED } else { doubled };
        let mut chance = Chance::from_seed(self.seed ^ u64::from(self.failures));
        Step { pause: whole.mul_f64(1.0 - chance.unit() / 2.0), failures: self.failures, outage: self.since.is_some() }
    }

    /// Whether there is one.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Records at `now` that it is over; returns how long it lasted, if there was one.
    pub(super) fn over(&mut self, now: Instant) -> Option<Duration> {
        (self.failures, self.last) = (0, None);
        self.since.take().map(|since| now.duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_failure_within_a_minute_is_an_outage_until_it_is_over() {
        let (mut outage, start) = (Outage::new("a"), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = outage.failed(at(0), false);
        assert!(!first.outage);
        assert!(!outage.failed(at(90), false).outage, "cuts that lie far apart are none");
        assert!(outage.failed(at(100), false).outage);
        assert!(outage.failed(at(500), false).outage && outage.is_on(), "it lasts");
        assert_eq!(outage.over(at(510)), Some(Duration::from_secs(420)));
        assert_eq!(outage.over(at(511)), None);
        assert!(!outage.failed(at(512), false).outage);
    }

    #[test]
    fn after_a_second_refusal_it_is_asked_again_slowly() {
        let mut outage = Outage::new("a");
        let step = outage.failed(Instant::now(), true);
        assert!(!step.outage && step.pause <= SHORTEST, "an API server that starts refuses what it will allow");
        let step = outage.failed(Instant::now(), true);
        assert!(step.outage && step.pause >= REFUSED / 2);
        assert!(outage.failed(Instant::now(), false).pause <= LONGEST);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_differ_between_replicas() {
        let pauses = |who: &str| {
            let (mut outage, now) = (Outage::new(who), Instant::now());
            (0..40).map(|_| outage.failed(now, false).pause).collect::<Vec<_>>()
        };
        assert!(pauses("a").iter().all(|pause| *pause <= LONGEST));
        assert!(pauses("a")[0] <= SHORTEST && pauses("a")[39] >= LONGEST / 2);
        assert_ne!(pauses("a"), pauses("b"));
    }
}
