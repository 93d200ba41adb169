//! The phases of a run: warm-up, storm, recovery, recovered and quiesced.
//!
//! Must not know how faults are injected.

use std::time::Duration;

use super::SimError;
use super::fault_state::FaultState;
use super::panics;
use super::recorder::Recorder;
use super::running::{Cluster, TICK, on_the_beat};
use crate::history::{Entry, Fact, Phase, Source};
use crate::plan::{Fault, Plan};

/// The shortest and the longest warm-up.
const WARM_UP: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(10));
/// The length of [`Phase::Recovery`], and of [`Phase::Recovered`] while requests still arrive.
const RECOVERY: Duration = Duration::from_secs(4);
const RECOVERED: Duration = Duration::from_secs(3);
/// How long open requests may take to end once no new ones arrive. An engine may take half a minute for a prompt of a
/// megabyte, and a second one waits for it.
const ENDING_MAX: Duration = Duration::from_secs(120);
/// The length of [`Phase::Quiesced`].
const QUIESCED: Duration = Duration::from_secs(3);
/// The interval of snapshots: before the recovery, and from then on.
const SNAPSHOT_INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_millis(100));
/// The interval at which the decisions of replicas are compared: usually, and in [`Phase::Recovered`]. There the share
/// of equal decisions under load is checked, which needs many comparisons to be significant.
const TWIN_INTERVALS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_millis(50));

/// One run of a plan.
pub(super) struct Course<'a> {
    plan: &'a Plan,
    recorder: Recorder,
    cluster: Cluster,
    now: Duration,
    phase: Phase,
    traffic: bool,
    /// Whether each fault is in force.
    active: Vec<bool>,
    /// Whether each fault has ended.
    ended: Vec<bool>,
    sink: &'a mut dyn FnMut(Vec<Entry>) -> bool,
}

/// Why a run ends early.
#[derive(Debug)]
enum Stop {
    /// The sink wants no more entries.
    Enough,
    /// The cluster cannot be simulated.
    Failed(SimError),
}

// === impl Course ===

impl<'a> Course<'a> {
    /// A run of `plan` that has not begun. `sink` gets the entries of each tick and returns whether to go on.
    pub(super) fn new(plan: &'a Plan, sink: &'a mut dyn FnMut(Vec<Entry>) -> bool) -> Result<Self, SimError> {
        let recorder = Recorder::default();
        panics::tell(&recorder);
        recorder.write(Source::Environment, Fact::Phase(Phase::WarmUp));
        let cluster = Cluster::new(plan, &recorder)?;
        let (active, ended) = (vec![false; plan.faults.len()], vec![false; plan.faults.len()]);
        let (now, phase) = (Duration::ZERO, Phase::WarmUp);
        Ok(Self { plan, recorder, cluster, now, phase, traffic: false, active, ended, sink })
    }

    /// Runs to the end of the plan, or until the sink returns `false`.
    pub(super) fn run(mut self) -> Result<(), SimError> {
        match self.run_phases() {
            Ok(()) | Err(Stop::Enough) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn run_phases(&mut self) -> Result<(), Stop> {
        self.tick_for(WARM_UP.0)?;
        while !self.cluster.is_ready() && self.now < WARM_UP.1 {
            self.tick()?;
        }
        self.begin(Phase::Storm);
        self.traffic = true;
        let from = self.now;
        while self.now < from + self.plan.duration {
            self.update_faults(self.now - from)?;
            self.tick()?;
        }
        self.end_all_faults()?;
        self.begin(Phase::Recovery);
        self.tick_for(RECOVERY)?;
        self.begin(Phase::Recovered);
        self.tick_for(RECOVERED)?;
        self.traffic = false;
        let from = self.now;
        while self.cluster.open() > 0 && self.now < from + ENDING_MAX {
            self.tick()?;
        }
        self.begin(Phase::Quiesced);
        self.tick_for(QUIESCED)
    }

    fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.recorder.write(Source::Environment, Fact::Phase(phase));
    }

    fn tick_for(&mut self, span: Duration) -> Result<(), Stop> {
        let until = self.now + span;
        while self.now < until {
            self.tick()?;
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Stop> {
        self.now += TICK;
        let recovering = self.phase >= Phase::Recovery;
        if on_the_beat(self.now, if recovering { SNAPSHOT_INTERVALS.1 } else { SNAPSHOT_INTERVALS.0 }) {
            self.cluster.snapshot();
        }
        // Where there are pairs, many are compared on equal views too.
        let often = self.phase == Phase::Recovered || self.phase == Phase::Quiesced && self.plan.cluster.prefillers > 0;
        let twins = if often { TWIN_INTERVALS.1 } else { TWIN_INTERVALS.0 };
        if self.phase >= Phase::Storm && on_the_beat(self.now, twins) {
            self.cluster.ask_twins();
        }
        self.cluster.tick(self.now, self.traffic)?;
        match (self.sink)(self.recorder.take()) {
            true => Ok(()),
            false => Err(Stop::Enough),
        }
    }

    /// Starts and ends the faults that are due at `since`, counted from the beginning of the storm.
    fn update_faults(&mut self, since: Duration) -> Result<(), Stop> {
        let mut changed = false;
        for (index, strike) in self.plan.faults.iter().enumerate() {
            if self.active[index] && strike.end() <= since {
                (self.active[index], self.ended[index], changed) = (false, true, true);
                self.recorder.write(Source::Environment, Fact::FaultEnded(index));
            }
        }
        for (index, strike) in self.plan.faults.iter().enumerate() {
            if !self.active[index] && !self.ended[index] && strike.at <= since {
                (self.active[index], changed) = (true, true);
                self.recorder.write(Source::Environment, Fact::FaultBegan(index));
                self.apply_once(&strike.fault);
            }
        }
        if changed { self.set() } else { Ok(()) }
    }

    /// Applies the one-time effect that some faults have when they begin.
    fn apply_once(&mut self, fault: &Fault) {
        match fault {
            Fault::Reload { who } => {
                who.replicas(&self.plan.cluster).into_iter().for_each(|one| self.cluster.reload(one))
            }
            Fault::Upgrade { who, wire_version } => {
                who.replicas(&self.plan.cluster).into_iter().for_each(|one| self.cluster.upgrade(one, *wire_version));
            }
            Fault::KillPart { who, part } => {
                who.replicas(&self.plan.cluster).into_iter().for_each(|one| self.cluster.kill_part(one, part));
            }
            Fault::ClockStep { who, step_ms } => {
                who.replicas(&self.plan.cluster).into_iter().for_each(|one| self.cluster.step_clock(one, *step_ms));
            }
            _ => {}
        }
    }

    /// Ends all faults that are in force.
    fn end_all_faults(&mut self) -> Result<(), Stop> {
        for index in 0..self.active.len() {
            if std::mem::take(&mut self.active[index]) {
                self.recorder.write(Source::Environment, Fact::FaultEnded(index));
            }
        }
        self.set()
    }

    fn set(&mut self) -> Result<(), Stop> {
        let in_force = self.plan.faults.iter().zip(&self.active).filter(|(_, active)| **active);
        let fault_state = FaultState::of(self.plan, in_force.map(|(strike, _)| &strike.fault));
        Ok(self.cluster.set(fault_state)?)
    }
}

impl From<SimError> for Stop {
    fn from(error: SimError) -> Self {
        Self::Failed(error)
    }
}
