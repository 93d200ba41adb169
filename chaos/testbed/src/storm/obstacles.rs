//! Which faults of a plan can't be injected here, why, and what would cure it. A storm that lacks a fault is not run:
//! its bars would assess a fault that never happened.
//!
//! Must not know how a fault is injected. The machine is probed once, and only for what the plan needs.

use serde::Serialize;

use crate::local::{Missing, Network};
use murmuration_simulation::plan::{Fault, Plan};

/// A fault that can't be injected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Obstacle {
    /// The fault's name, as plans write it.
    pub(super) fault: &'static str,
    /// Why it can't be injected.
    pub(super) why: String,
    /// What would make it possible.
    pub(super) cure: String,
}

/// What this machine lacks for network faults, and for delayed packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) network: Option<Missing>,
    pub(super) delays: Option<Missing>,
}

// === impl Machine ===

impl Machine {
    /// Probes this machine for what `plan` needs, and nothing else.
    pub(super) fn look(plan: &Plan) -> Self {
        let wants = |which: fn(&Fault) -> bool| plan.faults.iter().any(|strike| which(&strike.fault));
        if !wants(needs_network) {
            return Self::default();
        }
        let network = Network::missing();
        let delays = if network.is_none() && wants(needs_delays) { Network::missing_for_delays() } else { None };
        Self { network, delays }
    }
}

/// Whether a fault needs a network namespace for each process.
pub(super) fn needs_network(fault: &Fault) -> bool {
    matches!(fault, Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. })
}

fn needs_delays(fault: &Fault) -> bool {
    matches!(fault, Fault::Delay { .. })
}

/// The faults of `plan` that can't be injected on this machine, each once.
pub(super) fn obstacles(plan: &Plan, machine: &Machine) -> Vec<Obstacle> {
    let mut all: Vec<Obstacle> = plan.faults.iter().filter_map(|strike| obstacle(&strike.fault, machine)).collect();
    all.sort();
    all.dedup();
    all
}

fn obstacle(fault: &Fault, machine: &Machine) -> Option<Obstacle> {
    let simulated =
        |why: &str| Some((why.to_owned(), "leave it out, or simulate the plan with `chaos run`".to_owned()));
    let lacks = |missing: &Option<Missing>| missing.clone().map(|missing| (missing.why, missing.cure.to_owned()));
    let (why, cure) = match fault {
        Fault::Clock { .. } => simulated("real processes share the machine's clock"),
        Fault::Kill { same_incarnation: true, .. } => {
            simulated("a real replica takes a new incarnation whenever it starts")
        }
        Fault::ClockStep { .. } => simulated("real processes share the machine's clock"),
        Fault::KillPart { .. } => simulated("a process ends as a whole"),
        Fault::PairKill { .. } | Fault::Transfer { .. } => simulated("nobody sees between the legs of a real pair"),
        Fault::Replay { .. } => simulated("a machine's own network sends no datagram again"),
        Fault::EndpointChurn { .. } => simulated("a testbed's engines keep their names and addresses"),
        fault if needs_network(fault) && machine.network.is_some() => lacks(&machine.network),
        Fault::Delay { .. } => lacks(&machine.delays),
        _ => None,
    }?;
    Some(Obstacle { fault: fault.name(), why, cure })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const WITHOUT_NFT: Missing = Missing { why: String::new(), cure: "apt-get install nftables" };

    fn plan(fault: &str) -> Plan {
        let text = format!("name: p\nduration: 9s\nfaults:\n  - {{ at: 1s, for: 1s, fault: {fault} }}\n");
        Plan::read(&text, "p").unwrap()
    }

    fn cures(fault: &str, machine: &Machine) -> Vec<(&'static str, String)> {
        obstacles(&plan(fault), machine).into_iter().map(|one| (one.fault, one.cure)).collect()
    }

    #[test]
    fn a_fault_of_the_network_is_an_obstacle_only_where_the_machine_lacks_something() {
        let without = Machine { network: Some(WITHOUT_NFT), delays: None };
        for fault in ["cut, from: replicas, to: engines", "loss, from: replicas, to: engines, share: 0.1"] {
            assert_eq!(obstacles(&plan(fault), &Machine::default()), []);
            assert_eq!(cures(fault, &without).len(), 1);
            assert_eq!(cures(fault, &without)[0].1, "apt-get install nftables");
        }
        assert_eq!(cures("kill, who: replica-0", &without), []);
    }

    #[test]
    fn delays_need_more_than_losses() {
        let delay = "delay, from: replicas, to: engines, least: 1ms, most: 2ms";
        let without = Machine { network: None, delays: Some(WITHOUT_NFT) };
        assert_eq!(cures(delay, &without), [("delay", "apt-get install nftables".to_owned())]);
        assert_eq!(cures("cut, from: replicas, to: engines", &without), []);
        assert_eq!(cures(delay, &Machine::default()), []);
    }

    #[test]
    fn what_only_a_simulation_can_do_is_an_obstacle_everywhere() {
        for fault in [
            "clock, who: replica-0, drift-ppm: 10",
            "kill, who: replica-0, same-incarnation: true",
            "kill-part, who: replica-0, part: scheduler",
            "clock-step, who: replica-0, step-ms: -5000",
            "replay, from: replicas, to: replicas, share: 0.1, least: 0ms, most: 5ms",
            "endpoint-churn, every: 100ms, with: new-name",
        ] {
            let cures = cures(fault, &Machine::default());
            assert!(cures.len() == 1 && cures[0].1.contains("chaos run"), "{cures:?}");
        }
    }

    #[test]
    fn a_plan_without_network_faults_probes_nothing() {
        assert_eq!(Machine::look(&plan("kill, who: replica-0")), Machine::default());
    }
}
