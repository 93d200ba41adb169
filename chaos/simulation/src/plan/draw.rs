//! Draws a plan from a seed: first which kinds of faults exist at all, then the cluster, its traffic, and the faults.
//!
//! Must not know the outcome of a plan. Most kinds are absent from a run, so that the others reach states which a
//! mixture of all kinds never reaches (swarm testing). One seed always draws the same plan: a change of this file gives
//! all seeds a new meaning.

#[path = "draw_pairs.rs"]
mod pairs;

use std::time::Duration;

use clap::ValueEnum;
use murmuration::chance::{Chance, mix};

use super::{
    Bars, ClusterSpec, Discovery, Fault, PageFault, Part, Place, Plan, Replacement, ResponsePath, ScheduledFault,
    Traffic,
};

/// The largest number of faults in a drawn plan.
const STRIKES_MAX: usize = 9;
/// The probability of each kind of fault to exist in a plan.
const KIND_EXISTS: f64 = 0.35;
/// Times of drawn faults are multiples of this, which keeps a plan readable.
const GRID_MS: u64 = 50;

/// The kinds of faults. Their order is part of the meaning of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    Kill,
    Freeze,
    Drain,
    Upgrade,
    Reload,
    Clock,
    CutReplicas,
    CutZones,
    CutEngines,
    CutGateway,
    Loss,
    Delay,
    EngineKill,
    EngineSlow,
    EnginePage,
    Discovery,
    Burst,
    HotPrefix,
    Vanish,
    LargePrompts,
    KillPart,
    ClockStep,
    Duplicate,
    Replay,
    EndpointChurn,
}

/// Requests per second and engine in a burst, at most.
const REQUESTS_PER_ENGINE: f64 = 30.0;

/// The share of plans with several zones that have them apart, and how far.
const ZONES_APART: f64 = 0.5;
const ZONE_LATENCY: Duration = Duration::from_millis(10);

/// The state of drawing a plan.
struct Draw {
    chance: Chance,
    rate: f64,
    cluster: ClusterSpec,
}

// === impl Plan ===

impl Plan {
    /// The plan that belongs to `seed`.
    pub fn from_seed(seed: u64) -> Self {
        // Seeds are small consecutive numbers, but their plans must not be similar.
        let mut draw = Draw {
            chance: Chance::from_seed(mix(seed ^ 0x6d75_726d_7572)),
            rate: 1.0,
            cluster: ClusterSpec::default(),
        };
        let kinds: Vec<Kind> =
            Kind::value_variants().iter().copied().filter(|_| draw.chance.unit() < KIND_EXISTS).collect();
        draw.cluster = draw.cluster();
        let traffic = draw.traffic();
        draw.rate = traffic.rate;
        let duration = Duration::from_secs(draw.between(6, 14));
        let mut plan = Self {
            name: format!("seed-{seed}"),
            seed,
            duration,
            cluster: draw.cluster.clone(),
            traffic,
            faults: Vec::new(),
            bars: Bars::default(),
        };
        if !kinds.is_empty() {
            for _ in 0..draw.between(1, STRIKES_MAX as u64) {
                let strike = draw.strike(&kinds, duration);
                if plan.faults.iter().all(|other| !exclude(other, &strike, &plan.cluster)) {
                    plan.faults.push(strike);
                }
            }
            plan.faults.sort_by_key(|strike| strike.at);
        }
        pairs::add_pairs(&mut plan, seed);
        // From random numbers of its own, so that the rest of a plan does not depend on it.
        let apart = Chance::from_seed(mix(seed ^ 0x7a_6f6e_6573)).unit() < ZONES_APART;
        if apart && plan.cluster.zones > 1 {
            plan.cluster.zone_latency = ZONE_LATENCY;
        }
        plan
    }
}

/// Whether two faults must not overlap: one replica is not stopped twice at once, and bursts do not multiply.
fn exclude(one: &ScheduledFault, other: &ScheduledFault, cluster: &ClusterSpec) -> bool {
    let stopped = |strike: &ScheduledFault| match &strike.fault {
        Fault::Kill { who, .. } | Fault::Freeze { who } | Fault::Drain { who } | Fault::Upgrade { who, .. } => {
            who.replicas(cluster)
        }
        Fault::ClockStep { who, .. } | Fault::PairKill { who, .. } => who.replicas(cluster),
        _ => Vec::new(),
    };
    if [one, other].iter().all(|strike| matches!(strike.fault, Fault::Burst { .. })) {
        return true;
    }
    let (of_one, of_other) = (stopped(one), stopped(other));
    // A replica runs for a while between two stops.
    let apart = Duration::from_secs(1);
    let overlap = one.at < other.end() + apart && other.at < one.end() + apart;
    overlap && of_one.iter().any(|replica| of_other.contains(replica))
}

// === impl Draw ===

impl Draw {
    /// A whole number in `least..=most`.
    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.chance.below((most - least + 1) as usize) as u64
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.chance.below(of.len())]
    }

    fn yes(&mut self, chance: f64) -> bool {
        self.chance.unit() < chance
    }

    fn cluster(&mut self) -> ClusterSpec {
        ClusterSpec {
            replicas: self.between(2, 5) as usize,
            engines: self.between(3, 16) as usize,
            prefillers: 0,
            zones: self.between(1, 3) as usize,
            zone_latency: Duration::ZERO,
            response_path: if self.yes(0.5) { ResponsePath::Stay } else { ResponsePath::Leave },
            peer_streams: self.yes(0.75),
        }
    }

    fn traffic(&mut self) -> Traffic {
        Traffic {
            rate: self.between(10, 60) as f64,
            streamed: self.one(&[0.0, 0.5, 1.0]),
            conversations: self.between(4, 48) as usize,
            prompt_bytes: self.one(&[200, 1_000, 2_000, 6_000]),
            answer_tokens: self.between(4, 60) as u32,
            subset: self.one(&[0.0, 0.1, 0.3]),
        }
    }

    fn strike(&mut self, kinds: &[Kind], duration: Duration) -> ScheduledFault {
        let kind = self.one(kinds);
        let whole = duration.as_millis() as u64 / GRID_MS;
        // Early enough for the effect to show, late enough for the cluster to have state to lose.
        let at = self.between(10, whole - 20);
        let most = (whole - at).min(self.one(&[20, 60, 120]));
        let lasting = match kind {
            // Half of the killed replicas are back before their peers notice.
            Kind::Kill if self.yes(0.5) => self.between(5, 10),
            _ => self.between(5, most.max(5)),
        };
        let fault = self.fault(kind);
        ScheduledFault {
            at: Duration::from_millis(at * GRID_MS),
            lasting: Duration::from_millis(lasting * GRID_MS),
            fault,
        }
    }

    fn replica(&mut self) -> Place {
        let zone = self.cluster.zones > 1 && self.yes(0.1);
        if zone { self.zone() } else { Place::Replica(self.chance.below(self.cluster.replicas)) }
    }

    fn engine(&mut self) -> Place {
        match self.chance.below(10) {
            0 => Place::Engines,
            _ => Place::Engine(self.chance.below(self.cluster.engines)),
        }
    }

    /// A zone with a replica and an engine.
    fn zone(&mut self) -> Place {
        Place::Zone(self.chance.below(self.cluster.zones.min(self.cluster.replicas).min(self.cluster.engines)))
    }

    /// Both ends of a link that carries traffic.
    fn link(&mut self) -> (Place, Place) {
        match self.chance.below(5) {
            0 => (Place::Replicas, Place::Replicas),
            1 => (self.replica(), Place::Replicas),
            2 => (self.replica(), self.engine()),
            3 => (Place::Gateway, self.replica()),
            _ => (Place::Replicas, self.engine()),
        }
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        match kind {
            Kind::Kill => Fault::Kill { who: self.replica(), same_incarnation: false },
            Kind::Freeze => Fault::Freeze { who: self.replica() },
            Kind::Drain => Fault::Drain { who: self.replica() },
            Kind::Upgrade => Fault::Upgrade { who: self.replica(), wire_version: self.one(&[1, 2, 3]) },
            Kind::Reload => Fault::Reload { who: self.replica() },
            Kind::Clock => {
                let drift_ppm = self.one(&[-20_000, -1_000, 1_000, 20_000]);
                Fault::Clock { who: self.replica(), drift_ppm }
            }
            Kind::Loss => {
                let (from, to) = self.link();
                Fault::Loss { from, to, share: self.one(&[0.01, 0.05, 0.2]) }
            }
            Kind::Delay => {
                let (from, to) = self.link();
                let (least, most) = self.one(&[(1, 5), (1, 50), (20, 200)]);
                let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
                Fault::Delay { from, to, least, most }
            }
            Kind::CutReplicas | Kind::CutZones | Kind::CutEngines | Kind::CutGateway => self.cut(kind),
            Kind::EngineKill => Fault::EngineKill { who: self.engine() },
            Kind::EngineSlow => Fault::EngineSlow { who: self.engine(), factor: self.one(&[2.0, 5.0, 20.0]) },
            Kind::EnginePage => {
                let page = self.one(&[
                    PageFault::Stale,
                    PageFault::Torn,
                    PageFault::Lying,
                    PageFault::Endless,
                    PageFault::Error,
                ]);
                Fault::EnginePage { who: self.engine(), page }
            }
            Kind::Discovery => {
                let says = self.one(&[Discovery::Flap, Discovery::Old, Discovery::Empty, Discovery::Silent]);
                Fault::Discovery { says }
            }
            Kind::Burst => {
                // A backlog that engines cannot work off before the run ends would only show that.
                let most = (REQUESTS_PER_ENGINE * self.cluster.engines as f64 / self.rate).max(1.5);
                Fault::Burst { factor: f64::min(self.one(&[2.0, 4.0, 8.0]), most) }
            }
            Kind::HotPrefix => Fault::HotPrefix { share: self.one(&[0.3, 0.7, 1.0]) },
            Kind::Vanish => Fault::Vanish { share: self.one(&[0.05, 0.3]) },
            Kind::LargePrompts => Fault::LargePrompts { share: self.one(&[0.005, 0.02]), bytes: 1 << 20 },
            Kind::KillPart => Fault::KillPart { who: self.replica(), part: self.part() },
            Kind::ClockStep => {
                let step_ms = self.one(&[-86_400_000, -3_600_000, -5_000, 5_000, 3_600_000]);
                Fault::ClockStep { who: self.replica(), step_ms }
            }
            Kind::Duplicate => self.replay(&[0.05, 0.3], &[(0, 2), (0, 20)]),
            Kind::Replay => self.replay(&[0.01, 0.1], &[(200, 2_000), (2_000, 8_000)]),
            Kind::EndpointChurn => {
                let every = Duration::from_millis(self.one(&[100, 250, 1_000]));
                Fault::EndpointChurn { every, with: self.one(&[Replacement::NewName, Replacement::NewAddress]) }
            }
        }
    }

    /// The scheduler in half of all cases, because all other parts depend on it; else any part.
    fn part(&mut self) -> Part {
        match self.yes(0.5) {
            true => Part::Named("scheduler".to_owned()),
            false => Part::Numbered(self.chance.below(64)),
        }
    }

    fn replay(&mut self, shares: &[f64], later_ms: &[(u64, u64)]) -> Fault {
        let (share, (least, most)) = (self.one(shares), self.one(later_ms));
        let (least, most) = (Duration::from_millis(least), Duration::from_millis(most));
        Fault::Replay { from: self.replica(), to: Place::Replicas, share, least, most }
    }

    fn cut(&mut self, kind: Kind) -> Fault {
        let one_way = self.yes(0.3);
        let (from, to) = match kind {
            Kind::CutZones if self.cluster.zones > 1 => {
                // Replicas and engines are spread over zones in turn, so two zones are never both empty.
                let (one, zones) = (self.chance.below(self.cluster.zones), self.cluster.zones);
                (Place::Zone(one), Place::Zone((one + 1) % zones))
            }
            Kind::CutEngines => (self.replica(), self.one(&[Place::Engines, Place::Engine(0)])),
            Kind::CutGateway => (Place::Gateway, self.replica()),
            _ => match self.yes(0.2) {
                true => (Place::Replicas, Place::Replicas),
                false => (self.replica(), Place::Replicas),
            },
        };
        Fault::Cut { from, to, one_way }
    }
}

#[cfg(test)]
#[path = "draw_tests.rs"]
mod tests;
