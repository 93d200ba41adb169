//! `topology-affinity-scorer`: how near an endpoint is to the one that is chosen for the other stage.
//!
//! Must not know which stage is being decided.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fleet::Nearness;
use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// llm-d's parameters.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TopologyAffinityScorerParameters {
    /// The name of the `topology-extractor`, if it differs from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    topology_producer_name: Option<String>,
}

/// `topology-affinity-scorer`: how near an endpoint is to the one that is chosen already for the other stage: 1 on its
/// host, 0.2 in its rack, 0.05 in its zone, 0.02 in its region, else 0. All get 0 where nothing is chosen yet.
#[derive(Clone, Copy, Debug)]
pub struct TopologyAffinityScorer;

// === impl TopologyAffinityScorer ===

impl Scorer for TopologyAffinityScorer {
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        let Some(peer) = ask.peer else { return };
        let peer = ask.topology.locate(&peer.labels);
        for (row, score) in candidates.iter().zip(scores) {
            // llm-d's figures.
            *score = match ask.topology.locate(&row.endpoint.labels).nearness(peer) {
                Nearness::Host => 1.0,
                Nearness::Rack => 0.2,
                Nearness::Zone => 0.05,
                Nearness::Region => 0.02,
                Nearness::Apart => 0.0,
            };
        }
    }
}

impl Plugin for TopologyAffinityScorer {
    const TYPE: &'static str = "topology-affinity-scorer";
    const READS: &'static [Produced] = &[];
    type Parameters = TopologyAffinityScorerParameters;

    fn build(_: TopologyAffinityScorerParameters) -> Result<Self, Invalid> {
        Ok(Self)
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoint, request, rows};

    #[test]
    fn nearness_scores_as_in_llm_d() {
        let labels = [
            ("kubernetes.io/hostname", "1"),
            ("topology.kubernetes.io/rack", "1"),
            ("topology.kubernetes.io/zone", "1"),
            ("topology.kubernetes.io/region", "1"),
        ];
        let peer = endpoint("p", &labels);
        // `e0` shares all with it, each next one a level less.
        let endpoints: Vec<_> = (0..5).map(|level| endpoint(&format!("e{level}"), &labels[level..])).collect();
        let (rows, request) = (rows(&endpoints), request(1, 1));
        let scores = |peer| {
            let mut scores = [0.0; 5];
            TopologyAffinityScorer.score(&Ask { peer, ..Ask::sure(&request) }, &rows, &mut scores);
            scores
        };
        assert_eq!(scores(Some(&peer)), [1.0, 0.2, 0.05, 0.02, 0.0]);
        assert_eq!(scores(None), [0.0; 5]);
    }
}
