//! The combined effect of all faults in force: a pure function of the plan.
//!
//! Must not know how faults are injected.

use std::time::Duration;

use crate::plan::{ClusterSpec, Discovery, Fault, PageFault, PairMoment, Place, Plan, Replacement, TransferFault};

use super::net::{Link, Links, Places};

/// The combined effect of all faults in force.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FaultState {
    /// By replica.
    pub(super) replicas: Vec<ReplicaFaults>,
    /// By engine.
    pub(super) engines: Vec<EngineFaults>,
    /// What discovery announces instead of the current endpoints.
    pub(super) discovery: Option<Discovery>,
    /// How often an engine is replaced, and what changes then.
    pub(super) churn: Option<(Duration, Replacement)>,
    /// Changes of the traffic.
    pub(super) traffic: TrafficFaults,
    /// Who dies at which moment of a pair.
    pub(super) pair_kills: Vec<(Place, PairMoment)>,
    /// What goes wrong with KV on its way.
    pub(super) transfers: Option<TransferFaults>,
    /// The faults of links.
    link_faults: Vec<Fault>,
}

/// The faults of one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ReplicaFaults {
    /// Whether it is killed, as by SIGKILL.
    pub(super) killed: bool,
    /// Whether it restarts with its previous incarnation.
    pub(super) same_incarnation: bool,
    /// Whether it drains, or has drained and stays away.
    pub(super) drained: bool,
    /// Whether it is frozen, as by SIGSTOP.
    pub(super) frozen: bool,
    /// How much too fast its clock runs, in parts per million.
    pub(super) drift_ppm: i32,
}

/// The faults of one engine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct EngineFaults {
    /// Whether it is killed.
    pub(super) killed: bool,
    /// The factor by which its steps take longer.
    pub(super) slowness: f64,
    /// What is wrong with its metrics page.
    pub(super) page: Option<PageFault>,
}

/// Changes of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TrafficFaults {
    /// The factor on the request rate.
    pub(super) factor: f64,
    /// The share of requests with one common prefix.
    pub(super) hot: f64,
    /// The share of requests whose client hangs up.
    pub(super) vanish: f64,
    /// The share of requests with a large prompt, and the bytes added to it.
    pub(super) large: (f64, usize),
}

/// What goes wrong with the KV of some pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TransferFaults {
    /// The share of them, 0 to 1.
    pub(super) share: f64,
    /// What goes wrong.
    pub(super) does: TransferFault,
    /// How much later it is.
    pub(super) by: Duration,
}

// === impl FaultState ===

impl FaultState {
    /// The effect of `faults`, all of which are in force, on the plan's cluster.
    pub(super) fn of<'a>(plan: &Plan, faults: impl Iterator<Item = &'a Fault>) -> Self {
        let cluster = &plan.cluster;
        let engine_faults = EngineFaults { killed: false, slowness: 1.0, page: None };
        let mut fault_state = Self {
            replicas: vec![ReplicaFaults::default(); cluster.replicas],
            engines: vec![engine_faults; cluster.engines],
            discovery: None,
            churn: None,
            traffic: TrafficFaults { factor: 1.0, hot: 0.0, vanish: 0.0, large: (0.0, 0) },
            pair_kills: Vec::new(),
            transfers: None,
            link_faults: Vec::new(),
        };
        faults.for_each(|fault| fault_state.add(fault, cluster));
        fault_state
    }

    /// Applies the faults of links to `links`, which are reset first.
    pub(super) fn apply_to_links(&self, links: &mut Links, places: &Places, cluster: &ClusterSpec) {
        links.heal();
        for fault in &self.link_faults {
            let mut change = |from: Place, to: Place, back: bool, change: &dyn Fn(&mut Link)| {
                links.change(&places.of(from, cluster), &places.of(to, cluster), back, change);
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

    fn add(&mut self, fault: &Fault, cluster: &ClusterSpec) {
        match fault {
            Fault::Kill { who, same_incarnation } => self.replica_faults(*who, cluster, |replica_faults| {
                (replica_faults.killed, replica_faults.same_incarnation) = (true, *same_incarnation);
            }),
            Fault::Freeze { who } => self.replica_faults(*who, cluster, |replica_faults| replica_faults.frozen = true),
            Fault::Drain { who } | Fault::Upgrade { who, .. } => {
                self.replica_faults(*who, cluster, |replica_faults| replica_faults.drained = true)
            }
            Fault::Clock { who, drift_ppm } => {
                self.replica_faults(*who, cluster, |replica_faults| replica_faults.drift_ppm = *drift_ppm)
            }
            // The clock itself is set once, when the fault begins.
            Fault::ClockStep { who, .. } => {
                self.replica_faults(*who, cluster, |replica_faults| replica_faults.killed = true)
            }
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } | Fault::Replay { .. } => {
                self.link_faults.push(fault.clone());
            }
            Fault::EngineKill { who } => self.engine_faults(*who, cluster, |engine_faults| engine_faults.killed = true),
            Fault::EngineSlow { who, factor } => self.engine_faults(*who, cluster, |engine_faults| {
                engine_faults.slowness = engine_faults.slowness.max(*factor)
            }),
            Fault::EnginePage { who, page } => {
                self.engine_faults(*who, cluster, |engine_faults| engine_faults.page = Some(*page))
            }
            Fault::PairKill { who, when } => self.pair_kills.push((*who, *when)),
            Fault::Transfer { share, does, by } => {
                self.transfers = Some(TransferFaults { share: *share, does: *does, by: *by });
            }
            Fault::Discovery { says } => self.discovery = Some(*says),
            Fault::EndpointChurn { every, with } => self.churn = Some((*every, *with)),
            Fault::Burst { factor } => self.traffic.factor *= factor,
            Fault::HotPrefix { share } => self.traffic.hot = self.traffic.hot.max(*share),
            Fault::Vanish { share } => self.traffic.vanish = self.traffic.vanish.max(*share),
            Fault::LargePrompts { share, bytes } => self.traffic.large = (*share, *bytes),
            // Applied once, when the fault begins.
            Fault::Reload { .. } | Fault::KillPart { .. } => {}
        }
    }

    fn replica_faults(&mut self, who: Place, cluster: &ClusterSpec, change: impl Fn(&mut ReplicaFaults)) {
        who.replicas(cluster).into_iter().for_each(|replica| change(&mut self.replicas[replica]));
    }

    fn engine_faults(&mut self, who: Place, cluster: &ClusterSpec, change: impl Fn(&mut EngineFaults)) {
        who.engines(cluster).into_iter().for_each(|engine| change(&mut self.engines[engine]));
    }
}
