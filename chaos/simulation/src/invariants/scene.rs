//! What an observer knows while a run goes on: the phase, the live replicas, and the faults in force. Invariants read
//! it, since a storm allows what is illegal without faults.
//!
//! Must not know any invariant.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::history::{Entry, Fact, Phase, Source};
use crate::plan::{Fault, Place, Plan, ScheduledFault};

/// A run up to the last entry.
#[derive(Clone, Debug)]
pub struct Scene {
    plan: Plan,
    now: Duration,
    phase: Phase,
    phase_since: Duration,
    /// When the storm began, after the warm-up.
    storm_since: Option<Duration>,
    /// Requests that have not ended, and when the last request ended.
    open: BTreeSet<u64>,
    last_done: Duration,
    strikes: Vec<Span>,
    starts: Vec<Start>,
}

/// When a fault was in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    from: Option<Duration>,
    to: Option<Duration>,
}

/// The last start of a replica. A restart may keep the incarnation, so starts are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Start {
    number: u32,
    started: Option<Duration>,
    stopped: Option<Duration>,
}

// === impl Scene ===

impl Scene {
    /// The scene before the first entry.
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            now: Duration::ZERO,
            phase: Phase::WarmUp,
            phase_since: Duration::ZERO,
            storm_since: None,
            open: BTreeSet::new(),
            last_done: Duration::ZERO,
            strikes: vec![Span::default(); plan.faults.len()],
            starts: vec![Start::default(); plan.cluster.replicas],
        }
    }

    /// Takes in one entry, before the invariants see it.
    pub fn see(&mut self, entry: &Entry) {
        self.now = self.now.max(entry.at);
        match (&entry.fact, entry.by) {
            (Fact::Phase(phase), _) => {
                (self.phase, self.phase_since) = (*phase, entry.at);
                if *phase == Phase::Storm {
                    self.storm_since = Some(entry.at);
                }
            }
            (Fact::Asked { request, .. }, _) => {
                self.open.insert(*request);
            }
            (Fact::Done { request, .. }, _) => {
                self.open.remove(request);
                self.last_done = entry.at;
            }
            (Fact::FaultBegan(index), _) => {
                if let Some(span) = self.strikes.get_mut(*index) {
                    *span = Span { from: Some(entry.at), to: None };
                }
            }
            (Fact::FaultEnded(index), _) => {
                if let Some(span) = self.strikes.get_mut(*index) {
                    span.to = Some(entry.at);
                }
            }
            (Fact::Started, Source::Replica(replica, number)) => {
                if let Some(start) = self.starts.get_mut(replica) {
                    *start = Start { number, started: Some(entry.at), stopped: None };
                }
            }
            (Fact::Stopped, Source::Replica(replica, _)) => {
                if let Some(start) = self.starts.get_mut(replica) {
                    start.stopped = Some(entry.at);
                }
            }
            _ => {}
        }
    }

    /// The plan of the run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Virtual time of the last entry.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When the phase began.
    pub fn phase_since(&self) -> Duration {
        self.phase_since
    }

    /// Whether the phase is at least this one and has lasted for `settled`, or is a later one.
    pub fn settled(&self, phase: Phase, settled: Duration) -> bool {
        self.phase > phase || self.phase == phase && self.now >= self.phase_since + settled
    }

    /// How many requests have not ended.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Whether the run is quiesced and no request has been open for the last `span`.
    pub fn rests(&self, span: Duration) -> bool {
        let since = self.phase_since.max(self.last_done);
        self.phase == Phase::Quiesced && self.open.is_empty() && self.now >= since + span
    }

    /// The live replicas.
    pub fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.starts.len()).filter(|replica| self.lives(*replica))
    }

    /// Whether this replica is live.
    pub fn lives(&self, replica: usize) -> bool {
        self.starts.get(replica).is_some_and(|one| one.started.is_some() && one.stopped.is_none())
    }

    /// Since when this replica has been stopped; `None` while it is live, and before its first start.
    pub fn dead_since(&self, replica: usize) -> Option<Duration> {
        self.starts.get(replica).and_then(|one| one.stopped)
    }

    /// When this replica last started; `None` if it is stopped.
    pub fn started(&self, replica: usize) -> Option<Duration> {
        self.starts.get(replica).filter(|one| one.stopped.is_none()).and_then(|one| one.started)
    }

    /// The number of the replica's last start, counted from 0.
    pub fn life(&self, replica: usize) -> u32 {
        self.starts.get(replica).map_or(0, |one| one.number)
    }

    /// Faults that are in force or were within the last `aftermath`.
    pub fn felt(&self, aftermath: Duration) -> impl Iterator<Item = &ScheduledFault> + '_ {
        let from = self.now.saturating_sub(aftermath);
        let in_force = move |span: &Span| span.from.is_some() && span.to.is_none_or(|to| to >= from);
        self.plan.faults.iter().zip(&self.strikes).filter(move |(_, span)| in_force(span)).map(|(strike, _)| strike)
    }

    /// Whether such a fault is in force or was within the last `aftermath`.
    pub fn feels(&self, aftermath: Duration, which: impl Fn(&Fault) -> bool) -> bool {
        self.felt(aftermath).any(|strike| which(&strike.fault))
    }

    /// Whether a link between two such places is cut, lossy or slow, or was within the last `aftermath`, in either
    /// direction.
    pub fn way_struck(&self, aftermath: Duration, which: impl Fn(Place, Place) -> bool) -> bool {
        self.feels(aftermath, |fault| match fault {
            Fault::Cut { from, to, .. } | Fault::Loss { from, to, .. } | Fault::Delay { from, to, .. } => {
                which(*from, *to) || which(*to, *from)
            }
            _ => false,
        })
    }

    /// Whether messages between replicas may be lost or late, or may have been within the last `aftermath`.
    pub fn peer_links_faulty(&self, aftermath: Duration) -> bool {
        self.feels(aftermath, |fault| self.is_between_replicas(fault))
    }

    /// Whether, within the last `span`, a network fault between replicas ended.
    pub fn peer_links_recovered(&self, span: Duration) -> bool {
        let from = self.now.saturating_sub(span);
        let mut strikes = self.plan.faults.iter().zip(&self.strikes);
        strikes.any(|(strike, span)| span.to.is_some_and(|to| to >= from) && self.is_between_replicas(&strike.fault))
    }

    /// Whether this is a network fault between replicas.
    fn is_between_replicas(&self, fault: &Fault) -> bool {
        let cluster = &self.plan.cluster;
        let (Fault::Cut { from, to, .. } | Fault::Loss { from, to, .. } | Fault::Delay { from, to, .. }) = fault else {
            return false;
        };
        !from.replicas(cluster).is_empty() && !to.replicas(cluster).is_empty()
    }

    /// Whether an engine ended, or another one may have got its name.
    pub fn engines_replaced(&self) -> bool {
        use Fault::{Discovery, EndpointChurn, EngineKill, PairKill};
        let replaces = |fault: &Fault| {
            matches!(fault, EngineKill { .. } | PairKill { .. } | EndpointChurn { .. } | Discovery { .. })
        };
        self.feels(self.now, replaces)
    }

    /// Whether replicas may rightly differ on what such engines hold: one of the first release does not say that a cache
    /// was lost, and whether a placement came before or after a loss is known only to within the time that messages
    /// between replicas take.
    pub fn losses_unclear(&self) -> bool {
        let hides = |fault: &Fault| matches!(fault, Fault::Upgrade { wire_version: 1, .. } | Fault::Freeze { .. });
        self.engines_replaced() && (self.feels(self.now, hides) || self.peer_links_faulty(self.now))
    }

    /// Since when such a fault has been in force; the earliest if there are several.
    pub fn struck_since(&self, which: impl Fn(&Fault) -> bool) -> Option<Duration> {
        let strikes = self.plan.faults.iter().zip(&self.strikes);
        let in_force = strikes.filter(|(strike, span)| span.to.is_none() && which(&strike.fault));
        in_force.filter_map(|(_, span)| span.from).min()
    }

    /// Since when this replica has been frozen; `None` if it is not.
    pub fn frozen_since(&self, replica: usize) -> Option<Duration> {
        let cluster = &self.plan.cluster;
        self.struck_since(|fault| matches!(fault, Fault::Freeze { who } if who.replicas(cluster).contains(&replica)))
    }

    /// Whether this replica is live, and was not dead, frozen, leaving or restarted within the last `span`. A replica
    /// that started with the cluster had the warm-up to come up in.
    pub fn awake_for(&self, replica: usize, span: Duration) -> bool {
        let cluster = &self.plan.cluster;
        let settled =
            |started: Duration| self.now >= started + span || self.storm_since.is_some_and(|storm| started <= storm);
        self.started(replica).is_some_and(settled)
            && !self.feels(span, |fault| match fault {
                Fault::Freeze { who } | Fault::Kill { who, .. } | Fault::Drain { who } | Fault::Upgrade { who, .. } => {
                    who.replicas(cluster).contains(&replica)
                }
                Fault::ClockStep { who, .. } | Fault::KillPart { who, .. } | Fault::PairKill { who, .. } => {
                    who.replicas(cluster).contains(&replica)
                }
                _ => false,
            })
    }

    /// Whether a part of this replica was ended within the last `span`.
    pub fn part_killed(&self, replica: usize, span: Duration) -> bool {
        let cluster = &self.plan.cluster;
        self.feels(
            span,
            |fault| matches!(fault, Fault::KillPart { who, .. } if who.replicas(cluster).contains(&replica)),
        )
    }
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;
