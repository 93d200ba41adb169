//! What all faults that are in force make of the town: a pure function of the plan.
//!
//! Must not know how it is made so.

use std::time::Duration;

use crate::plan::{Discovery, Fault, Page, Place, Plan, Replacement, Town};

use super::net::{Link, Links, Places};

/// How the town is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Weather {
    /// Each replica.
    pub(super) replicas: Vec<Sky>,
    /// Each engine.
    pub(super) engines: Vec<Ground>,
    /// What discovery says, where it is not the truth.
    pub(super) discovery: Option<Discovery>,
    /// How often an engine is replaced, and what is another one afterwards.
    pub(super) churn: Option<(Duration, Replacement)>,
    /// What is asked.
    pub(super) traffic: Surge,
    /// What is wrong with the ways.
    ways: Vec<Fault>,
}

/// How a replica is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sky {
    /// Whether it is dead, as by SIGKILL.
    pub(super) killed: bool,
    /// Whether it comes back with the incarnation that it had.
    pub(super) same_life: bool,
    /// Whether it has left, or is leaving.
    pub(super) drained: bool,
    /// Whether it stands still.
    pub(super) frozen: bool,
    /// Parts in a million that its clock runs too fast.
    pub(super) drift_ppm: i32,
}

/// How an engine is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ground {
    /// Whether it is dead.
    pub(super) killed: bool,
    /// Its steps take so many times as long.
    pub(super) slowness: f64,
    /// What is wrong with its page.
    pub(super) page: Option<Page>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Surge {
    /// So many times as much.
    pub(super) factor: f64,
    /// The share of requests that have one beginning in common.
    pub(super) hot: f64,
    /// The share whose client hangs up.
    pub(super) vanish: f64,
    /// The share of large prompts, and their bytes.
    pub(super) large: (f64, usize),
}

// === impl Weather ===

impl Weather {
    /// What `faults`, which are in force, make of the plan's town.
    pub(super) fn of<'a>(plan: &Plan, faults: impl Iterator<Item = &'a Fault>) -> Self {
        let town = &plan.town;
        let ground = Ground { killed: false, slowness: 1.0, page: None };
        let mut weather = Self {
            replicas: vec![Sky::default(); town.replicas],
            engines: vec![ground; town.engines],
            discovery: None,
            churn: None,
            traffic: Surge { factor: 1.0, hot: 0.0, vanish: 0.0, large: (0.0, 0) },
            ways: Vec::new(),
        };
        faults.for_each(|fault| weather.add(fault, town));
        weather
    }

    /// Makes the ways so.
    pub(super) fn blow(&self, links: &mut Links, places: &Places, town: &Town) {
        links.heal();
        for fault in &self.ways {
            let mut change = |from: Place, to: Place, back: bool, change: &dyn Fn(&mut Link)| {
                links.change(&places.of(from, town), &places.of(to, town), back, change);
            };
            match *fault {
                Fault::Cut { from, to, one_way } => change(from, to, !one_way, &|link| link.cut = true),
                Fault::Loss { from, to, share } => change(from, to, true, &|link| link.loss = link.loss.max(share)),
                Fault::Delay { from, to, least, most } => change(from, to, true, &|link| {
                    (link.least, link.most) = (link.least.max(least), link.most.max(most));
                }),
                Fault::Replay { from, to, share, least, most } => change(from, to, true, &|link| {
                    (link.replayed, link.replayed_after) = (link.replayed.max(share), (least, most));
                }),
                _ => {}
            }
        }
    }

    fn add(&mut self, fault: &Fault, town: &Town) {
        match fault {
            Fault::Kill { who, same_life } => self.sky(*who, town, |sky| {
                (sky.killed, sky.same_life) = (true, *same_life);
            }),
            Fault::Freeze { who } => self.sky(*who, town, |sky| sky.frozen = true),
            Fault::Drain { who } | Fault::Upgrade { who, .. } => self.sky(*who, town, |sky| sky.drained = true),
            Fault::Clock { who, drift_ppm } => self.sky(*who, town, |sky| sky.drift_ppm = *drift_ppm),
            // The clock is set when it begins.
            Fault::ClockStep { who, .. } => self.sky(*who, town, |sky| sky.killed = true),
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } | Fault::Replay { .. } => {
                self.ways.push(fault.clone());
            }
            Fault::EngineKill { who } => self.ground(*who, town, |ground| ground.killed = true),
            Fault::EngineSlow { who, factor } => {
                self.ground(*who, town, |ground| ground.slowness = ground.slowness.max(*factor))
            }
            Fault::EnginePage { who, page } => self.ground(*who, town, |ground| ground.page = Some(*page)),
            Fault::Discovery { says } => self.discovery = Some(*says),
            Fault::EndpointChurn { every, with } => self.churn = Some((*every, *with)),
            Fault::Burst { factor } => self.traffic.factor *= factor,
            Fault::HotPrefix { share } => self.traffic.hot = self.traffic.hot.max(*share),
            Fault::Vanish { share } => self.traffic.vanish = self.traffic.vanish.max(*share),
            Fault::LargePrompts { share, bytes } => self.traffic.large = (*share, *bytes),
            // Happens at once, when it begins.
            Fault::Reload { .. } | Fault::KillPart { .. } => {}
        }
    }

    fn sky(&mut self, who: Place, town: &Town, change: impl Fn(&mut Sky)) {
        who.replicas(town).into_iter().for_each(|replica| change(&mut self.replicas[replica]));
    }

    fn ground(&mut self, who: Place, town: &Town, change: impl Fn(&mut Ground)) {
        who.engines(town).into_iter().for_each(|engine| change(&mut self.engines[engine]));
    }
}
