//! A pod of the pool: whether it serves, and which endpoints it is.
//!
//! Must not know how pods are selected.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use super::fields::or_default;
use crate::fleet::Endpoint;
use crate::id::{EndpointId, canonical};

/// The annotation that restricts a pod to some of the pool's ports: numbers with commas between them.
const ACTIVE_PORTS: &str = "llm-d.ai/active-ports";
/// The older spelling of [`ACTIVE_PORTS`], read where the current one is missing.
const ACTIVE_PORTS_LEGACY: &str = "inference.networking.k8s.io/active-ports";

/// The parts of a pod's metadata that are read.
#[derive(Clone, Debug, Default)]
pub struct PodMetadata {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether it is being deleted.
    pub deleting: bool,
}

/// The parts of a pod's status that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    #[serde(deserialize_with = "or_default")]
    phase: String,
    #[serde(rename = "podIP", deserialize_with = "or_default")]
    pod_ip: String,
    #[serde(deserialize_with = "or_default")]
    conditions: Vec<PodCondition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct PodCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// What a pool needs of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    /// The ports that its annotation allows; `None` without the annotation.
    active_ports: Option<BTreeSet<u16>>,
    ip: Option<IpAddr>,
    /// Whether it has the condition Ready and is not being deleted.
    ready: bool,
    /// Whether its containers have not ended, and it is not being deleted.
    alive: bool,
}

// === impl Pod ===

impl Pod {
    /// The pod with this metadata and status.
    ///
    /// # Errors
    /// One sentence, when its address can't be read.
    pub fn new(metadata: PodMetadata, status: &PodStatus) -> Result<Self, String> {
        let PodMetadata { namespace, name, labels, annotations, deleting } = metadata;
        let ip = match status.pod_ip.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| format!("`status.podIP`: {text:?} is no IP address"))?),
        };
        let is_ready = |condition: &PodCondition| condition.kind == "Ready";
        let ready = status.conditions.iter().find(|one| is_ready(one)).is_some_and(|ready| ready.status == "True");
        let ended = matches!(status.phase.as_str(), "Succeeded" | "Failed");
        let active_ports = annotations.get(ACTIVE_PORTS).or_else(|| annotations.get(ACTIVE_PORTS_LEGACY));
        let active_ports = active_ports.map(|text| ports(text));
        let (ready, alive) = (ready && !deleting, !ended && !deleting);
        Ok(Self { namespace, name, labels, active_ports, ip, ready, alive })
    }

    /// Its endpoints, one for each of the pool's ports that it serves; none while it is not Ready. The number in an
    /// endpoint's name is the port's place among the pool's ports, whether or not the pod serves those before it.
    pub fn endpoints<'a>(&'a self, ports: &'a [u16]) -> impl Iterator<Item = Endpoint> + 'a {
        let serving = self.ip.filter(|_| self.ready);
        let is_active = |port: &u16| self.active_ports.as_ref().is_none_or(|active| active.contains(port));
        let of = move |ip| {
            let active = ports.iter().enumerate().filter(move |(_, port)| is_active(port));
            active.map(move |(rank, port)| Endpoint {
                id: EndpointId::new(&self.namespace, &format!("{}-rank-{rank}", self.name)),
                address: canonical(SocketAddr::new(ip, *port)),
                labels: self.labels.clone(),
            })
        };
        serving.into_iter().flat_map(of)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, where it can be reached: from its start on, Ready or not, until it ends or is deleted.
    pub fn reached_at(&self) -> Option<IpAddr> {
        self.ip.map(|ip| ip.to_canonical()).filter(|_| self.alive)
    }
}

/// The numbers in `text`, as llm-d reads them: each begins its item, and what is no port is left out.
fn ports(text: &str) -> BTreeSet<u16> {
    let number = |item: &str| {
        let item = item.trim_start();
        let end = item.find(|c: char| !c.is_ascii_digit()).unwrap_or(item.len());
        item[..end].parse().ok().filter(|port| *port > 0)
    };
    text.split(',').filter_map(number).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "pod_tests.rs"]
mod tests;
