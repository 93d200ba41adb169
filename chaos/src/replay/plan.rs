//! What one run is: how many of whom, who tells whom what, and how well lanes carry it.
//!
//! Must not know flags or traces.

use std::time::Duration;

use clap::ValueEnum;
use murmuration::replication::Record;

use crate::engine::EngineConfig;

/// Tokens of an engine's block here: the grain of the traces.
const BLOCK_TOKENS: usize = super::trace::ID_TOKENS as usize;
/// Tokens that an engine's KV cache holds where nothing else is said.
pub const KV_TOKENS: usize = 2 << 20;
/// How long a run goes on after its last arrival, where nothing else is said.
pub const PATIENCE: Duration = Duration::from_secs(1800);

/// What replicas tell each other, and by which lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// Everything, by peer streams and by gossip.
    Full,
    /// Everything, by peer streams alone.
    Streams,
    /// Everything, by gossip alone.
    Gossip,
    /// Nothing, and nobody knows that there are others: every replica scrapes every engine and knows only what it
    /// dispatched itself.
    None,
    /// Everything, but no lane carries anything: every replica scrapes every engine and knows that it is alone.
    Cut,
    /// Dispatches and load by both lanes, and not where prefixes are.
    LoadOnly,
    /// Where prefixes are by both lanes, and no load: every replica scrapes every engine.
    CacheOnly,
}

/// Who chooses the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nobody: each request goes to the next one.
    RoundRobin,
    /// The minds of the replicas.
    Minds(Sharing),
}

/// When an engine's metrics page learns of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Gauging {
    /// At the end of each engine step, as vLLM does.
    Step,
    /// At once.
    Live,
}

/// Which replica a request comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Balance {
    /// The next one.
    RoundRobin,
    /// Any, drawn from the seed: many Envoy workers that go round by themselves look like this.
    Random,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Replicas; at least 1.
    pub replicas: usize,
    /// Engines; at least 1.
    pub engines: usize,
    /// What each engine is like.
    pub engine: EngineConfig,
    /// Who chooses.
    pub way: Way,
    /// Which replica is asked.
    pub balance: Balance,
    /// When gauges change.
    pub gauging: Gauging,
    /// The share of letters that a lane loses, `0..1`.
    pub loss: f64,
    /// All chance is drawn from it.
    pub seed: u64,
    /// The text of the `EndpointPickerConfig`.
    pub config: String,
    /// How long a run may go on after its last arrival, in virtual time.
    pub patience: Duration,
}

/// An engine of middle size: 10,000 prompt tokens a second in steps of 2,048, 12 ms for a step that computes nothing and
/// 0.1 ms for each answer in it, 256 requests at once, and room for `kv_tokens` tokens.
pub fn engine(kv_tokens: usize) -> EngineConfig {
    EngineConfig {
        block_tokens: BLOCK_TOKENS,
        blocks: (kv_tokens / BLOCK_TOKENS).max(2),
        max_num_seqs: 256,
        prefill_tokens_per_s: 10_000.0,
        max_batched_tokens: 2048,
        step_base: Duration::from_millis(12),
        step_per_seq: Duration::from_micros(100),
        ..EngineConfig::default()
    }
}

// === impl Plan ===

impl Plan {
    /// The same tier as one replica that knows everything at once.
    pub fn oracle(&self) -> Self {
        Self { replicas: 1, way: Way::Minds(Sharing::Full), ..self.clone() }
    }

    /// The same tier in another way.
    pub fn by(&self, way: Way) -> Self {
        Self { way, ..self.clone() }
    }

    /// What replicas tell each other.
    pub fn sharing(&self) -> Sharing {
        match self.way {
            Way::RoundRobin => Sharing::None,
            Way::Minds(sharing) => sharing,
        }
    }
}

// === impl Sharing ===

impl Sharing {
    /// Whether peer streams are there.
    pub fn streams(self) -> bool {
        matches!(self, Self::Full | Self::Streams | Self::LoadOnly | Self::CacheOnly)
    }

    /// Whether gossip carries facts.
    pub fn gossip(self) -> bool {
        matches!(self, Self::Full | Self::Gossip | Self::LoadOnly | Self::CacheOnly)
    }

    /// Whether each engine has one keeper; else everybody scrapes.
    pub fn keepers(self) -> bool {
        !matches!(self, Self::None | Self::Cut | Self::CacheOnly)
    }

    /// Whether there are others to tell, whatever becomes of it.
    pub fn tries(self) -> bool {
        self != Self::None
    }

    /// What is left of a word where not everything is shared.
    pub fn tells(self, record: Record) -> Option<Record> {
        match (self, record) {
            (Self::None, _) => None,
            (Self::CacheOnly, Record::Placement(placement)) => Some(Record::Placement(placement)),
            (Self::CacheOnly, _) => None,
            // That something was dispatched is load; of which prompt is not.
            (Self::LoadOnly, Record::Placement(mut placement)) => {
                placement.anchors.clear();
                Some(Record::Placement(placement))
            }
            (_, record) => Some(record),
        }
    }
}
