//! Who lives in a plan's town, and what is asked of it.
//!
//! Must not know faults.

use serde::{Deserialize, Serialize};

/// Most replicas or engines of a plan.
const MANY: usize = 64;

/// Who lives there. Replicas and engines are spread over the zones in turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Town {
    /// Replicas.
    pub replicas: usize,
    /// Engines.
    pub engines: usize,
    /// Zones.
    pub zones: usize,
    /// Whether replicas see answers.
    pub response_path: ResponsePath,
    /// Whether facts go by peer streams too, and not by gossip alone.
    pub peer_streams: bool,
}

/// Whether replicas see answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResponsePath {
    /// They do.
    #[default]
    Stay,
    /// They leave once they have answered.
    Leave,
}

/// A steady load, whatever becomes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Traffic {
    /// Requests in a second.
    pub rate: f64,
    /// The share of requests whose answer is streamed.
    pub streamed: f64,
    /// Conversations that requests belong to; requests of one share a growing prefix.
    pub conversations: usize,
    /// Bytes of a prompt's own part.
    pub prompt_bytes: usize,
    /// Tokens of an answer.
    pub answer_tokens: u32,
    /// The share of requests that the gateway restricts to a subset of the endpoints.
    pub subset: f64,
}

// === impl Town ===

impl Default for Town {
    fn default() -> Self {
        Self { replicas: 3, engines: 4, zones: 1, response_path: ResponsePath::Stay, peer_streams: true }
    }
}

impl Town {
    /// The zone that a replica is in.
    pub fn zone_of_replica(&self, replica: usize) -> usize {
        replica % self.zones.max(1)
    }

    /// The zone that an engine is in.
    pub fn zone_of_engine(&self, engine: usize) -> usize {
        engine % self.zones.max(1)
    }

    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let counts = [("replicas", self.replicas), ("engines", self.engines), ("zones", self.zones)];
        match counts.iter().find(|(_, count)| !(1..=MANY).contains(count)) {
            Some((field, count)) => Err((field, format!("must be 1 to {MANY}, not {count}"))),
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
