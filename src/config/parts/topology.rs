//! `topology-extractor`: which labels say where an endpoint runs.
//!
//! Must not know who compares places.

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::fleet::{STANDARD_LABELS, TopologyLabels};

/// llm-d's parameters and defaults. An empty name stands for the default.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// The label of the endpoint's host. Any label of a closer group, such as a slice of accelerators, may stand in.
    hostname: String,
    /// The label of its rack.
    rack: String,
    /// The label of its zone.
    zone: String,
    /// The label of its region.
    region: String,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    let standard = Parameters::default();
    let fill = |given: &mut String, standard: String| {
        if given.is_empty() {
            *given = standard;
        }
        given.clone().into()
    };
    Ok(Part::Topology(TopologyLabels {
        host: fill(&mut parameters.hostname, standard.hostname),
        rack: fill(&mut parameters.rack, standard.rack),
        zone: fill(&mut parameters.zone, standard.zone),
        region: fill(&mut parameters.region, standard.region),
    }))
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        let TopologyLabels { host, rack, zone, region } = &STANDARD_LABELS;
        let [hostname, rack, zone, region] = [host, rack, zone, region].map(|label| label.clone().into_owned());
        Self { hostname, rack, zone, region }
    }
}
