//! What each host drops and sends late while faults of the network are in force.
//!
//! Must not know tools beyond the language of nft's rules; addresses are given to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use crate::plan::{Fault, Place, Town};

/// The rules of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rules {
    incoming: Vec<String>,
    outgoing: Vec<String>,
    /// Address, least and spread in milliseconds.
    pub(super) delays: Vec<(IpAddr, u64, u64)>,
}

/// Where everybody is. The gateway is no host of its own: rules that concern it are kept by the others.
#[derive(Clone, Debug)]
pub(super) struct Map {
    /// Names and addresses of replicas and engines.
    pub(super) hosts: BTreeMap<String, IpAddr>,
    /// The gateway's address.
    pub(super) gateway: IpAddr,
}

// === impl Rules ===

impl Rules {
    /// As nft reads it.
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
pub(super) fn rules(faults: &[&Fault], town: &Town, map: &Map) -> BTreeMap<String, Rules> {
    let mut all: BTreeMap<String, Rules> = map.hosts.keys().map(|name| (name.clone(), Rules::default())).collect();
    for fault in faults {
        match fault {
            Fault::Cut { from, to, one_way } => {
                each_way(*from, *to, *one_way, town, |a, b| block(&mut all, map, a, b, "drop"));
            }
            Fault::Loss { from, to, share } => {
                let lost = format!("numgen random mod 1000 < {} drop", (share * 1000.0).round() as u64);
                each_way(*from, *to, false, town, |a, b| block(&mut all, map, a, b, &lost));
            }
            Fault::Delay { from, to, least, most } => {
                let (least, most) = (least.as_millis() as u64, most.as_millis() as u64);
                each_way(*from, *to, false, town, |a, b| {
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

/// What goes from `from` to `to` (`None` is the gateway) falls under `verdict`.
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

fn each_way(from: Place, to: Place, one_way: bool, town: &Town, mut way: impl FnMut(Option<&str>, Option<&str>)) {
    let (ones, others) = (names(from, town), names(to, town));
    for one in &ones {
        for other in others.iter().filter(|other| *other != one) {
            way(one.as_deref(), other.as_deref());
            // Where both are on either side, the pair comes by in both orders.
            let comes_again = ones.contains(other) && others.contains(one);
            if !(one_way || comes_again) {
                way(other.as_deref(), one.as_deref());
            }
        }
    }
}

/// Hosts that a place means; discovery is a file here and has no way to it.
fn names(place: Place, town: &Town) -> Vec<Option<String>> {
    if place == Place::Gateway {
        return vec![None];
    }
    let replicas = place.replicas(town).into_iter().map(|index| Some(format!("replica-{index}")));
    replicas.chain(place.engines(town).into_iter().map(|index| Some(format!("engine-{index}")))).collect()
}
