//! The course of a run: warming, the storm, healing, the time after, and rest.
//!
//! Must not know how faults are done.

use std::time::Duration;

use super::SimError;
use super::panics;
use super::scribe::Scribe;
use super::town::{TICK, Town, on_the_beat};
use super::weather::Weather;
use crate::chronicle::{Entry, Fact, Phase, Witness};
use crate::plan::{Fault, Plan};

/// How long a town takes to warm up, at least and at most.
const WARM: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
/// How long healing is watched, and the time after it.
const HEALING: Duration = Duration::from_secs(4);
const HEALED: Duration = Duration::from_secs(3);
/// How long open requests may take to end once no more come.
const ENDING_MAX: Duration = Duration::from_secs(20);
/// How long rest is watched.
const REST: Duration = Duration::from_secs(3);
/// How often replicas are looked at: in a storm, and when all must become well.
const LOOKS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(100));
/// How often they are compared: in a storm and at rest, and under load after it, where so many comparisons are counted that
/// chance has no say.
const TWINS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// A run.
pub(super) struct Course<'a> {
    plan: &'a Plan,
    scribe: Scribe,
    town: Town,
    now: Duration,
    phase: Phase,
    traffic: bool,
    /// Which faults are in force.
    struck: Vec<bool>,
    over: Vec<bool>,
    sink: &'a mut dyn FnMut(Vec<Entry>) -> bool,
}

/// Nobody wants to know more.
#[derive(Debug)]
enum Stop {
    Enough,
    Failed(SimError),
}

// === impl Course ===

impl<'a> Course<'a> {
    /// A run of `plan` that has not begun; `sink` is given what happened after each tick, and says whether to go on.
    pub(super) fn new(plan: &'a Plan, sink: &'a mut dyn FnMut(Vec<Entry>) -> bool) -> Result<Self, SimError> {
        let scribe = Scribe::default();
        panics::tell(&scribe);
        scribe.write(Witness::World, Fact::Phase(Phase::Warming));
        let town = Town::new(plan, &scribe)?;
        let (struck, over) = (vec![false; plan.faults.len()], vec![false; plan.faults.len()]);
        let (now, phase) = (Duration::ZERO, Phase::Warming);
        Ok(Self { plan, scribe, town, now, phase, traffic: false, struck, over, sink })
    }

    /// Runs it to its end, or until the sink has seen enough.
    pub(super) fn run(mut self) -> Result<(), SimError> {
        match self.all() {
            Ok(()) | Err(Stop::Enough) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn all(&mut self) -> Result<(), Stop> {
        self.pass(WARM.0)?;
        while !self.town.is_ready() && self.now < WARM.1 {
            self.tick()?;
        }
        self.begin(Phase::Storm);
        self.traffic = true;
        let from = self.now;
        while self.now < from + self.plan.duration {
            self.strike(self.now - from)?;
            self.tick()?;
        }
        self.lift()?;
        self.begin(Phase::Healing);
        self.pass(HEALING)?;
        self.begin(Phase::Healed);
        self.pass(HEALED)?;
        self.traffic = false;
        let from = self.now;
        while self.town.open() > 0 && self.now < from + ENDING_MAX {
            self.tick()?;
        }
        self.begin(Phase::Rest);
        self.pass(REST)
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.scribe.write(Witness::World, Fact::Phase(phase));
    }

    fn pass(&mut self, span: Duration) -> Result<(), Stop> {
        let until = self.now + span;
        while self.now < until {
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.now += TICK;
        let calm = self.phase >= Phase::Healing;
        if on_the_beat(self.now, if calm { LOOKS.1 } else { LOOKS.0 }) {
            self.town.look();
        }
        let twins = if self.phase == Phase::Healed { TWINS.1 } else { TWINS.0 };
        if self.phase >= Phase::Storm && on_the_beat(self.now, twins) {
            self.town.ask_twins();
        }
        self.town.tick(self.now, self.traffic)?;
        match (self.sink)(self.scribe.take()) {
            true => Ok(()),
            false => Err(Stop::Enough),
        }
    }

    /// Begins and ends what begins and ends at `since`, from when the town served.
    fn strike(&mut self, since: Duration) -> Result<(), Stop> {
        let mut changed = false;
        for (index, strike) in self.plan.faults.iter().enumerate() {
            if self.struck[index] && strike.end() <= since {
                (self.struck[index], self.over[index], changed) = (false, true, true);
                self.scribe.write(Witness::World, Fact::Lifted(index));
            }
        }
        for (index, strike) in self.plan.faults.iter().enumerate() {
            if !self.struck[index] && !self.over[index] && strike.at <= since {
                (self.struck[index], changed) = (true, true);
                self.scribe.write(Witness::World, Fact::Struck(index));
                self.strike_once(&strike.fault);
            }
        }
        if changed { self.set() } else { Ok(()) }
    }

    /// What a fault does when it begins, and not for as long as it lasts.
    fn strike_once(&mut self, fault: &Fault) {
        match fault {
            Fault::Reload { who } => who.replicas(&self.plan.town).into_iter().for_each(|one| self.town.reload(one)),
            Fault::Upgrade { who, wire_version } => {
                who.replicas(&self.plan.town).into_iter().for_each(|one| self.town.upgrade(one, *wire_version));
            }
            Fault::KillPart { who, part } => {
                who.replicas(&self.plan.town).into_iter().for_each(|one| self.town.kill_part(one, part));
            }
            Fault::ClockStep { who, step_ms } => {
                who.replicas(&self.plan.town).into_iter().for_each(|one| self.town.step_clock(one, *step_ms));
            }
            _ => {}
        }
    }

    /// Ends all faults.
    fn lift(&mut self) -> Result<(), Stop> {
        for index in 0..self.struck.len() {
            if std::mem::take(&mut self.struck[index]) {
                self.scribe.write(Witness::World, Fact::Lifted(index));
            }
        }
        self.set()
    }

    fn set(&mut self) -> Result<(), Stop> {
        let in_force = self.plan.faults.iter().zip(&self.struck).filter(|(_, struck)| **struck);
        let weather = Weather::of(self.plan, in_force.map(|(strike, _)| &strike.fault));
        Ok(self.town.set(weather)?)
    }
}

impl From<SimError> for Stop {
    fn from(error: SimError) -> Self {
        Self::Failed(error)
    }
}
