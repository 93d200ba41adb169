//! The state of one endpoint: what discovery and the engine reported, what was dispatched to it, and how it answered.
//!
//! Must not know other endpoints, nor where a fact came from.

use std::time::Duration;

use crate::fleet::load::Process;
use crate::fleet::{
    Endpoint, FailureCounts, Failures, InFlight, LoadReport, Missing, PrefillSpeed, Stages, Trust, TrustAges, Unseen,
};
use crate::time::Timestamp;

/// Scrapes in a row that must fail to connect before an endpoint is passed over. One refused connection may be a full
/// backlog; two, one interval apart, are a dead listener.
pub(super) const UNREACHABLE_AFTER: u32 = 2;

/// The state of one endpoint.
#[derive(Debug)]
pub struct Entry {
    /// The endpoint as discovery announced it.
    pub endpoint: Endpoint,
    /// The stages that its labels allow.
    pub stages: Stages,
    /// Open work dispatched from here.
    pub in_flight: InFlight,
    /// Open work dispatched by all peers.
    pub foreign: InFlight,
    /// How fast it computes prompts, by the first tokens that this replica saw.
    pub speed: PrefillSpeed,
    /// The same by those that peers saw; `None` if one of them does not say it.
    pub foreign_speed: Option<PrefillSpeed>,
    pub(super) belief: Option<Belief>,
    /// This replica's dispatches that the report can't include yet.
    pub(super) unseen: Unseen,
    /// Number of peers' dispatches that the report can't include yet.
    pub(super) foreign_unseen: usize,
    pub(super) failed_connects: u32,
    /// Of those, this replica's own attempts.
    pub(super) own_failed_connects: u32,
    /// The newest process of the engine that is known.
    pub(super) process: Process,
    /// Failure counts of the answers that this replica saw.
    pub(super) failures: Failures,
    /// Failure counts of the answers that peers saw; peers that saw no failure are left out.
    pub(super) foreign_failures: Vec<Failures>,
    pub(super) failing_reported: bool,
    pub(super) missing_reported: Missing,
    ages: TrustAges,
    pub(super) trust_reported: Trust,
    pub(super) generation: u64,
}

/// Why an engine's earlier placements are no longer in its cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheLoss {
    /// Its process is another one.
    Restarted,
    /// It fell asleep.
    Asleep,
    /// Its listener was unreachable, and now it answers.
    Back,
    /// A peer published the loss.
    Told,
}

#[derive(Debug)]
pub(super) struct Belief {
    pub(super) report: LoadReport,
    pub(super) measured: Timestamp,
}

// === impl Entry ===

impl Entry {
    pub(super) fn new(endpoint: Endpoint, ages: TrustAges, generation: u64) -> Self {
        Self {
            stages: endpoint.stages(),
            endpoint,
            in_flight: InFlight::default(),
            foreign: InFlight::default(),
            speed: PrefillSpeed::default(),
            foreign_speed: Some(PrefillSpeed::default()),
            belief: None,
            unseen: Unseen::default(),
            foreign_unseen: 0,
            failed_connects: 0,
            own_failed_connects: 0,
            process: Process::default(),
            failures: Failures::default(),
            foreign_failures: Vec::new(),
            failing_reported: false,
            missing_reported: Missing::default(),
            ages,
            trust_reported: Trust::Fallback,
            generation,
        }
    }

    /// The last report, however old.
    pub fn report(&self) -> Option<&LoadReport> {
        self.belief.as_ref().map(|belief| &belief.report)
    }

    /// When the last report was made.
    pub fn measured(&self) -> Option<Timestamp> {
        self.belief.as_ref().map(|belief| belief.measured)
    }

    /// The last report's age.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        self.belief.as_ref().map(|belief| now.since(belief.measured))
    }

    /// The trust that the report's age earns.
    pub fn trust(&self, now: Timestamp) -> Trust {
        self.ages.trust(self.age(now))
    }

    /// The last report's age, the trust that it earns, and what the report is worth, `0..=1`.
    pub fn aged(&self, now: Timestamp) -> (Option<Duration>, Trust, f64) {
        let age = self.age(now);
        (age, self.ages.trust(age), self.ages.worth(age))
    }

    /// Whether its listener is believed to answer.
    pub fn is_reachable(&self) -> bool {
        self.failed_connects < UNREACHABLE_AFTER
    }

    /// Failure counts of the engine's last answers, summed over all replicas that saw a failure.
    pub fn failure_counts(&self, now: Timestamp) -> FailureCounts {
        // The usual case. This runs for each endpoint in each decision.
        if self.failures.counts().failures == 0 && self.foreign_failures.is_empty() {
            return FailureCounts::default();
        }
        // Counts without failures are not published, so they must not count here: replicas would decide differently.
        let all = std::iter::once(&self.failures).chain(&self.foreign_failures).map(|failures| failures.at(now));
        all.filter(|counts| counts.failures > 0).fold(FailureCounts::default(), FailureCounts::and)
    }

    /// When any replica last saw an answer of a failing engine; [`Timestamp::ZERO`] if none did.
    pub fn failures_seen(&self) -> Timestamp {
        let foreign = self.foreign_failures.iter().map(Failures::seen).max().unwrap_or_default();
        foreign.max(self.failures.seen())
    }

    /// Failure counts of the answers that this replica saw itself.
    pub fn own_failures(&self) -> &Failures {
        &self.failures
    }

    /// When the engine's newest known process started, by its own clock.
    pub fn started_ms(&self) -> Option<u64> {
        self.process.started_ms
    }

    pub(super) fn cache_loss(&self, report: &LoadReport) -> Option<CacheLoss> {
        let same_process = self.process.started_ms.is_some() && self.process.started_ms == report.process.started_ms;
        if self.process.is_before(report.process) {
            Some(CacheLoss::Restarted)
        } else if self.own_failed_connects >= UNREACHABLE_AFTER || !self.is_reachable() && !same_process {
            // If only a peer could not connect, the peer's path may have failed. An unchanged process proves that.
            Some(CacheLoss::Back)
        } else {
            // A sleeping engine keeps no KV cache, at any level of sleep.
            (self.is_awake() && !report.awake).then_some(CacheLoss::Asleep)
        }
    }

    /// Whether the engine accepts requests. On a sleeping engine they hang.
    pub fn is_awake(&self) -> bool {
        self.report().is_none_or(|report| report.awake)
    }

    /// Requests dispatched by any replica that the last report can't include.
    pub fn unseen(&self) -> usize {
        self.unseen.len() + self.foreign_unseen
    }

    /// Open work dispatched by any replica.
    pub fn open_work(&self) -> InFlight {
        self.in_flight.and(self.foreign)
    }

    /// How fast it computes prompts, by the first tokens that any replica saw. `None` while a peer of an earlier release
    /// does not say what it saw, nor reads what others did: replicas would decide differently.
    pub fn prefill_speed(&self) -> Option<PrefillSpeed> {
        self.foreign_speed.map(|foreign| self.speed.and(foreign))
    }
}

// === impl CacheLoss ===

impl CacheLoss {
    /// The stable name for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restarted => "restarted",
            Self::Asleep => "asleep",
            Self::Back => "back",
            Self::Told => "told",
        }
    }
}
