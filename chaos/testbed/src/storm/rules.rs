//! What each host drops and delays while network faults are in force.
//!
//! Must not know tools beyond the language of nft's rules; it gets addresses from its caller.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use murmuration_simulation::plan::{ClusterSpec, Fault, Place};

/// The rules of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    incoming: Vec<String>,
    outgoing: Vec<String>,
    /// Address, least and spread in milliseconds.
    pub(super) delays: Vec<(IpAddr, u64, u64)>,
}

/// Addresses of all hosts. The gateway has no namespace of its own: the other hosts hold the rules that concern it.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// Names and addresses of replicas and engines.
    pub(super) hosts: BTreeMap<String, IpAddr>,
    /// The gateway's address.
    pub(super) gateway: IpAddr,
}

// === impl Rules ===

impl Rules {
    /// The rules as nft reads them.
    pub(super) fn text(&self) -> String {
        let mut text = String::from("table ip storm {\n");
        for (chain, rules) in [("input", &self.incoming), ("output", &self.outgoing)] {
            let _ = writeln!(text, " chain {chain} {{\n  type filter hook {chain} priority 0;");
            for rule in rules {
                let _ = writeln!(text, "  {rule}");
            }
            text.push_str(" }\n");
        }
        text.push('}');
        text
    }
}

/// The rules of every host while `faults` are in force.
pub(super) fn rules(faults: &[&Fault], cluster: &ClusterSpec, map: &Map) -> BTreeMap<String, Rules> {
    let mut all: BTreeMap<String, Rules> = map.hosts.keys().map(|name| (name.clone(), Rules::default())).collect();
    for fault in faults {
        match fault {
            Fault::Cut { from, to, one_way } => {
                each_way(*from, *to, *one_way, cluster, |a, b| block(&mut all, map, a, b, "drop"));
            }
            Fault::Loss { from, to, share } => {
                let lost = format!("numgen random mod 1000 < {} drop", (share * 1000.0).round() as u64);
                each_way(*from, *to, false, cluster, |a, b| block(&mut all, map, a, b, &lost));
            }
            Fault::Delay { from, to, least, most } => {
                let (least, most) = (least.as_millis() as u64, most.as_millis() as u64);
                each_way(*from, *to, false, cluster, |a, b| {
                    let to = b.map_or(map.gateway, |b| map.hosts[b]);
                    if let Some(rules) = a.and_then(|a| all.get_mut(a)) {
                        rules.delays.push((to, least, most - least));
                    }
                });
            }
            _ => {}
        }
    }
    all
}

/// Applies `verdict` to packets from `from` to `to` (`None` is the gateway).
fn block(all: &mut BTreeMap<String, Rules>, map: &Map, from: Option<&str>, to: Option<&str>, verdict: &str) {
    match (from, to) {
        (Some(from), to) => {
            let to = to.map_or(map.gateway, |to| map.hosts[to]);
            if let Some(rules) = all.get_mut(from) {
                rules.outgoing.push(format!("ip daddr {to} {verdict}"));
            }
        }
        (None, Some(to)) => {
            if let Some(rules) = all.get_mut(to) {
                rules.incoming.push(format!("ip saddr {} {verdict}", map.gateway));
            }
        }
        (None, None) => {}
    }
}

fn each_way(
    from: Place,
    to: Place,
    one_way: bool,
    cluster: &ClusterSpec,
    mut way: impl FnMut(Option<&str>, Option<&str>),
) {
    let (ones, others) = (names(from, cluster), names(to, cluster));
    for one in &ones {
        for other in others.iter().filter(|other| *other != one) {
            way(one.as_deref(), other.as_deref());
            // Where both hosts are on both sides, the pair occurs in both orders.
            let comes_again = ones.contains(other) && others.contains(one);
            if !(one_way || comes_again) {
                way(other.as_deref(), one.as_deref());
            }
        }
    }
}

/// The hosts of a place. Discovery is a file here, so it has none.
fn names(place: Place, cluster: &ClusterSpec) -> Vec<Option<String>> {
    if place == Place::Gateway {
        return vec![None];
    }
    let replicas = place.replicas(cluster).into_iter().map(|index| Some(format!("replica-{index}")));
    replicas.chain(place.engines(cluster).into_iter().map(|index| Some(format!("engine-{index}")))).collect()
}
