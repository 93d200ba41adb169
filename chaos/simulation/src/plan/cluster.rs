//! The size of a plan's cluster, and its traffic.
//!
//! Must not know faults.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest number of replicas, engines or zones in a plan.
const COUNT_MAX: usize = 64;

/// The cluster of a plan. Replicas and engines are spread over the zones in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClusterSpec {
    /// Replicas.
    pub replicas: usize,
    /// Engines.
    pub engines: usize,
    /// Engines among them that compute prompts for the others and answer nothing, the first ones by number; 0 for none.
    /// With some, replicas choose pairs.
    #[serde(skip_serializing_if = "is_zero")]
    pub prefillers: usize,
    /// Zones.
    pub zones: usize,
    /// How much longer a packet takes from one zone to another than within one.
    #[serde(with = "super::span", skip_serializing_if = "Duration::is_zero")]
    pub zone_latency: Duration,
    /// Whether responses pass through the replicas.
    pub response_path: ResponsePath,
    /// Whether replicas use peer streams in addition to gossip.
    pub peer_streams: bool,
}

/// Whether responses pass through the replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum ResponsePath {
    /// Responses pass through the replica.
    #[default]
    Stay,
    /// The replica closes the stream after its decision.
    Leave,
}

/// A steady open-loop load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Traffic {
    /// Requests per second.
    pub rate: f64,
    /// The share of requests with a streamed response.
    pub streamed: f64,
    /// The number of conversations. Requests of one conversation share a growing prefix.
    pub conversations: usize,
    /// Bytes of each turn of a prompt (simulation), or of its opening (real processes).
    pub prompt_bytes: usize,
    /// Tokens of a response.
    pub answer_tokens: u32,
    /// The share of requests for which the gateway restricts the endpoints to a subset.
    pub subset: f64,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

// === impl ClusterSpec ===

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            replicas: 3,
            engines: 4,
            prefillers: 0,
            zones: 1,
            zone_latency: Duration::ZERO,
            response_path: ResponsePath::Stay,
            peer_streams: true,
        }
    }
}

impl ClusterSpec {
    /// The zone that a replica is in.
    pub fn zone_of_replica(&self, replica: usize) -> usize {
        replica % self.zones.max(1)
    }

    /// The zone that an engine is in.
    pub fn zone_of_engine(&self, engine: usize) -> usize {
        engine % self.zones.max(1)
    }

    /// Whether this engine computes prompts for others.
    pub fn prefills(&self, engine: usize) -> bool {
        engine < self.prefillers
    }

    /// How many engines generate answers.
    pub fn decoders(&self) -> usize {
        self.engines - self.prefillers.min(self.engines)
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.prefillers >= self.engines {
            let why = format!("must be less than engines ({}), not {}", self.engines, self.prefillers);
            return Err(("prefillers", why));
        }
        let counts = [("replicas", self.replicas), ("engines", self.engines), ("zones", self.zones)];
        match counts.iter().find(|(_, count)| !(1..=COUNT_MAX).contains(count)) {
            Some((field, count)) => Err((field, format!("must be 1 to {COUNT_MAX}, not {count}"))),
            None => Ok(()),
        }
    }
}

// === impl Traffic ===

impl Default for Traffic {
    fn default() -> Self {
        Self { rate: 40.0, streamed: 0.5, conversations: 24, prompt_bytes: 2_000, answer_tokens: 40, subset: 0.0 }
    }
}

impl Traffic {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let wrong = |field, why: &str| Err((field, why.to_owned()));
        if !(self.rate > 0.0 && self.rate <= 10_000.0) {
            return wrong("rate", "must be above 0 and at most 10000");
        }
        if !(0.0..=1.0).contains(&self.streamed) {
            return wrong("streamed", "must be 0 to 1");
        }
        if !(0.0..=1.0).contains(&self.subset) {
            return wrong("subset", "must be 0 to 1");
        }
        if !(1..=100_000).contains(&self.conversations) {
            return wrong("conversations", "must be 1 to 100000");
        }
        if self.prompt_bytes > 1 << 20 {
            return wrong("prompt-bytes", "must be at most 1048576");
        }
        if !(1..=10_000).contains(&self.answer_tokens) {
            return wrong("answer-tokens", "must be 1 to 10000");
        }
        Ok(())
    }
}
