//! `topology-affinity-filter`: endpoints near the one that is chosen for the other stage.
//!
//! Must not know which stage is being decided, nor what a transfer over a distance costs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fleet::Nearness;
use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TopologyAffinityFilterParameters {
    /// How near an endpoint must be: on the same `host`, `rack`, `zone` or `region`. Nearer ones are kept too.
    min_affinity: String,
    /// The name of the `topology-extractor`, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    topology_producer_name: Option<String>,
}

/// `topology-affinity-filter`: keeps the endpoints near the one that is chosen already for the other stage of the
/// request. It keeps all where there is none, where nothing is known of its place, or where none is near.
#[derive(Clone, Copy, Debug)]
pub struct TopologyAffinityFilter {
    farthest: Nearness,
}

// === impl TopologyAffinityFilterParameters ===

impl Default for TopologyAffinityFilterParameters {
    fn default() -> Self {
        Self { min_affinity: "host".to_owned(), topology_producer_name: None }
    }
}

// === impl TopologyAffinityFilter ===

impl Filter for TopologyAffinityFilter {
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        let Some(peer) = ask.peer else { return };
        let peer = ask.topology.locate(&peer.labels);
        let near = |row: &Candidate<'_>| ask.topology.locate(&row.endpoint.labels).nearness(peer) <= self.farthest;
        if candidates.iter().any(near) {
            candidates.iter().zip(keep).for_each(|(row, keep)| *keep = near(row));
        }
    }
}

impl Plugin for TopologyAffinityFilter {
    const TYPE: &'static str = "topology-affinity-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = TopologyAffinityFilterParameters;

    fn build(parameters: TopologyAffinityFilterParameters) -> Result<Self, Invalid> {
        let farthest = match parameters.min_affinity.as_str() {
            "" | "host" => Nearness::Host,
            "rack" => Nearness::Rack,
            "zone" => Nearness::Zone,
            "region" => Nearness::Region,
            other => return Err(format!("minAffinity must be `host`, `rack`, `zone` or `region`, got `{other}`")),
        };
        Ok(Self { farthest })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::Endpoint;
    use crate::plugin::testing::{endpoint, request, rows};

    const ZONE: &str = "topology.kubernetes.io/zone";
    const HOST: &str = "kubernetes.io/hostname";

    /// Names of the kept ones of `a` (host 1, zone 1), `b` (host 2, zone 1), `c` (zone 2) and `d` (nowhere).
    fn kept(min_affinity: &str, peer: Option<&Endpoint>) -> String {
        let parameters =
            TopologyAffinityFilterParameters { min_affinity: min_affinity.to_owned(), ..Default::default() };
        let filter = TopologyAffinityFilter::build(parameters).unwrap();
        let endpoints = [
            endpoint("a", &[(HOST, "1"), (ZONE, "1")]),
            endpoint("b", &[(HOST, "2"), (ZONE, "1")]),
            endpoint("c", &[(ZONE, "2")]),
            endpoint("d", &[]),
        ];
        let (rows, request, mut keep) = (rows(&endpoints), request(1, 1), [true; 4]);
        filter.filter(&Ask { peer, ..Ask::sure(&request) }, &rows, &mut keep);
        rows.iter().zip(keep).filter(|(_, keep)| *keep).map(|(row, _)| row.endpoint.id.name()).collect()
    }

    #[test]
    fn the_nearest_are_kept_and_all_where_none_is_near() {
        let peer = endpoint("p", &[(HOST, "1"), (ZONE, "1")]);
        assert_eq!(kept("host", Some(&peer)), "a");
        assert_eq!(kept("", Some(&peer)), "a", "llm-d's default");
        assert_eq!(kept("zone", Some(&peer)), "ab");
        let elsewhere = endpoint("p", &[(HOST, "9"), (ZONE, "2")]);
        assert_eq!(kept("host", Some(&elsewhere)), "abcd");
        assert_eq!(kept("zone", Some(&elsewhere)), "c");
        assert_eq!(kept("zone", Some(&endpoint("p", &[]))), "abcd", "nothing is known of its place");
        assert_eq!(kept("zone", None), "abcd", "nothing is chosen yet");
    }

    #[test]
    fn a_level_that_nobody_knows_is_refused() {
        let parameters = TopologyAffinityFilterParameters { min_affinity: "galaxy".to_owned(), ..Default::default() };
        assert!(TopologyAffinityFilter::build(parameters).unwrap_err().contains("`galaxy`"));
    }
}
