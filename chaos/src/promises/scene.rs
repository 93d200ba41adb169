//! What an onlooker knows of a run while it goes on: the phase, who lives, and what is struck. Promises are judged before it, because what
//! is legal in a storm is not legal in fair weather.
//!
//! Must not know any promise.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::chronicle::{Entry, Fact, Phase, Witness};
use crate::plan::{Fault, Place, Plan, Strike};

/// A run as far as it has come.
#[derive(Clone, Debug)]
pub struct Scene {
    plan: Plan,
    now: Duration,
    phase: Phase,
    phase_since: Duration,
    /// When the town had come up and faults could begin.
    storm_since: Option<Duration>,
    /// Requests that are not over, and when the last one was.
    open: BTreeSet<u64>,
    last_done: Duration,
    strikes: Vec<Span>,
    lives: Vec<Life>,
}

/// When a fault was in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    from: Option<Duration>,
    to: Option<Duration>,
}

/// The present or last life of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Life {
    number: u32,
    born: Option<Duration>,
    gone: Option<Duration>,
}

// === impl Scene ===

impl Scene {
    /// The scene before anything happened.
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            now: Duration::ZERO,
            phase: Phase::Warming,
            phase_since: Duration::ZERO,
            storm_since: None,
            open: BTreeSet::new(),
            last_done: Duration::ZERO,
            strikes: vec![Span::default(); plan.faults.len()],
            lives: vec![Life::default(); plan.town.replicas],
        }
    }

    /// Takes in what happened. Comes before the promises see it.
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
            (Fact::Struck(index), _) => {
                if let Some(span) = self.strikes.get_mut(*index) {
                    *span = Span { from: Some(entry.at), to: None };
                }
            }
            (Fact::Lifted(index), _) => {
                if let Some(span) = self.strikes.get_mut(*index) {
                    span.to = Some(entry.at);
                }
            }
            (Fact::Born, Witness::Replica(replica, number)) => {
                if let Some(life) = self.lives.get_mut(replica) {
                    *life = Life { number, born: Some(entry.at), gone: None };
                }
            }
            (Fact::Gone, Witness::Replica(replica, _)) => {
                if let Some(life) = self.lives.get_mut(replica) {
                    life.gone = Some(entry.at);
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

    /// Whether nobody has asked, and no answer has been on its way, for `span` at the end of a run.
    pub fn rests(&self, span: Duration) -> bool {
        let since = self.phase_since.max(self.last_done);
        self.phase == Phase::Rest && self.open.is_empty() && self.now >= since + span
    }

    /// The replicas that live now.
    pub fn living(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.lives.len()).filter(|replica| self.lives(*replica))
    }

    /// Whether this replica lives now.
    pub fn lives(&self, replica: usize) -> bool {
        self.lives.get(replica).is_some_and(|life| life.born.is_some() && life.gone.is_none())
    }

    /// Since when this replica has been dead; `None` while it lives, and before its first life.
    pub fn dead_since(&self, replica: usize) -> Option<Duration> {
        self.lives.get(replica).and_then(|life| life.gone)
    }

    /// Since when this replica lives in its present life; `None` when it is dead.
    pub fn born(&self, replica: usize) -> Option<Duration> {
        self.lives.get(replica).filter(|life| life.gone.is_none()).and_then(|life| life.born)
    }

    /// The number of the replica's present or last life.
    pub fn life(&self, replica: usize) -> u32 {
        self.lives.get(replica).map_or(0, |life| life.number)
    }

    /// Faults that are in force now or were within the last `aftermath`.
    pub fn felt(&self, aftermath: Duration) -> impl Iterator<Item = &Strike> + '_ {
        let from = self.now.saturating_sub(aftermath);
        let in_force = move |span: &Span| span.from.is_some() && span.to.is_none_or(|to| to >= from);
        self.plan.faults.iter().zip(&self.strikes).filter(move |(_, span)| in_force(span)).map(|(strike, _)| strike)
    }

    /// Whether such a fault is in force or was within the last `aftermath`.
    pub fn feels(&self, aftermath: Duration, which: impl Fn(&Fault) -> bool) -> bool {
        self.felt(aftermath).any(|strike| which(&strike.fault))
    }

    /// Whether a way between two such places is cut, lossy or slow, or was within the last `aftermath`; in either direction.
    pub fn way_struck(&self, aftermath: Duration, which: impl Fn(Place, Place) -> bool) -> bool {
        self.feels(aftermath, |fault| match fault {
            Fault::Cut { from, to, .. } | Fault::Loss { from, to, .. } | Fault::Delay { from, to, .. } => {
                which(*from, *to) || which(*to, *from)
            }
            _ => false,
        })
    }

    /// Whether what replicas say to each other may be lost or late, or may have been within the last `aftermath`.
    pub fn talk_struck(&self, aftermath: Duration) -> bool {
        self.feels(aftermath, |fault| self.of_talk(fault))
    }

    /// Whether, within the last `span`, a fault ended that kept replicas from hearing each other.
    pub fn talk_mended(&self, span: Duration) -> bool {
        let from = self.now.saturating_sub(span);
        let mut strikes = self.plan.faults.iter().zip(&self.strikes);
        strikes.any(|(strike, span)| span.to.is_some_and(|to| to >= from) && self.of_talk(&strike.fault))
    }

    /// Whether a fault is about what replicas say to each other.
    fn of_talk(&self, fault: &Fault) -> bool {
        let town = &self.plan.town;
        let (Fault::Cut { from, to, .. } | Fault::Loss { from, to, .. } | Fault::Delay { from, to, .. }) = fault else {
            return false;
        };
        !from.replicas(town).is_empty() && !to.replicas(town).is_empty()
    }

    /// Since when such a fault has been in force without a pause; the earliest where there are several.
    pub fn struck_since(&self, which: impl Fn(&Fault) -> bool) -> Option<Duration> {
        let strikes = self.plan.faults.iter().zip(&self.strikes);
        let in_force = strikes.filter(|(strike, span)| span.to.is_none() && which(&strike.fault));
        in_force.filter_map(|(_, span)| span.from).min()
    }

    /// Since when this replica has stood still.
    pub fn frozen_since(&self, replica: usize) -> Option<Duration> {
        let town = &self.plan.town;
        self.struck_since(|fault| matches!(fault, Fault::Freeze { who } if who.replicas(town).contains(&replica)))
    }

    /// Whether this replica lives, and has not been dead, frozen, leaving or reborn within the last `span`. Who was born with the town
    /// had its time to come up before the storm.
    pub fn awake_for(&self, replica: usize, span: Duration) -> bool {
        let town = &self.plan.town;
        let settled = |born: Duration| self.now >= born + span || self.storm_since.is_some_and(|storm| born <= storm);
        self.born(replica).is_some_and(settled)
            && !self.feels(span, |fault| match fault {
                Fault::Freeze { who } | Fault::Kill { who, .. } | Fault::Drain { who } | Fault::Upgrade { who, .. } => {
                    who.replicas(town).contains(&replica)
                }
                Fault::ClockStep { who, .. } | Fault::KillPart { who, .. } => who.replicas(town).contains(&replica),
                _ => false,
            })
    }

    /// Whether a part of this replica was ended within the last `span`.
    pub fn part_killed(&self, replica: usize, span: Duration) -> bool {
        let town = &self.plan.town;
        self.feels(span, |fault| matches!(fault, Fault::KillPart { who, .. } if who.replicas(town).contains(&replica)))
    }
}

#[cfg(test)]
#[path = "scene_tests.rs"]
mod tests;
