//! The parameters of one run: how many replicas and engines, what replicas share, and how well lanes carry it.
//!
//! Must not know flags or traces.

use std::time::Duration;

use clap::ValueEnum;
use murmuration::replication::Record;

use murmuration_engine_sim::EngineConfig;

/// Tokens of an engine's block: the resolution of the traces.
const BLOCK_TOKENS: usize = super::trace::ID_TOKENS as usize;
/// Tokens that an engine's KV cache holds by default.
pub const KV_TOKENS: usize = 2 << 20;
/// How long a run continues after its last arrival by default.
pub const PATIENCE: Duration = Duration::from_secs(1800);

/// What replicas share with each other, and by which lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sharing {
    /// Everything, by peer streams and by gossip.
    Full,
    /// Everything, by peer streams alone.
    Streams,
    /// Everything, by gossip alone.
    Gossip,
    /// Nothing, and replicas expect no peers: every replica scrapes every engine and knows only what it dispatched
    /// itself.
    None,
    /// Everything, but no lane carries anything: every replica scrapes every engine and knows that it is isolated.
    Cut,
    /// Dispatches and load by both lanes, without prefixes.
    LoadOnly,
    /// Prefixes by both lanes, without load: every replica scrapes every engine.
    CacheOnly,
}

/// How the engine is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In turns: each request goes to the next engine.
    RoundRobin,
    /// By the schedulers of the replicas.
    Schedulers(Sharing),
}

/// Engines with roles: some prefill, the others decode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pairs {
    /// Engines that prefill, the first ones.
    pub prefillers: usize,
    /// Bytes of KV for each token.
    pub kv_bytes_per_token: f64,
    /// How fast KV arrives at an engine.
    pub bytes_per_s: f64,
}

/// The zones that replicas and engines are spread over, in turn, and how long a message takes from one to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Zones {
    /// Zones; at least 1.
    pub count: usize,
    /// How much longer a message takes between two of them.
    pub apart: Duration,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Replicas; at least 1.
    pub replicas: usize,
    /// The zones of replicas and engines.
    pub zones: Zones,
    /// Engines; at least 1.
    pub engines: usize,
    /// The configuration of each engine.
    pub engine: EngineConfig,
    /// Engines among them that are slower than it says.
    pub slow_engines: usize,
    /// How many times as long their steps take.
    pub slowness: f64,
    /// The roles of engines; without it each serves whole requests.
    pub pairs: Option<Pairs>,
    /// How the engine is chosen.
    pub way: Way,
    /// The share of messages that a lane loses, `0..1`.
    pub loss: f64,
    /// The seed of all random choices.
    pub seed: u64,
    /// The text of the `EndpointPickerConfig`.
    pub config: String,
    /// How long a run may go on after its last arrival, in virtual time.
    pub patience: Duration,
}

/// An engine of middle size: 10,000 tokens of short prompts per second in steps of 2,048, and twice the time at a depth
/// of 67,000; 12 ms for a step that computes nothing, 0.04 ms for each answer in it and 5 ns for each token of its
/// context; 256 requests at once, and room for `kv_tokens` tokens.
pub fn engine(kv_tokens: usize) -> EngineConfig {
    let engine = EngineConfig {
        max_num_seqs: 256,
        prefill_tokens_per_s: 10_000.0,
        max_num_batched_tokens: 2048,
        step_base: Duration::from_millis(12),
        attention_ns: 1.5,
        step_per_seq: Duration::from_micros(40),
        context_ns: 5.0,
        ..EngineConfig::default()
    };
    in_blocks_of_ids(engine, kv_tokens)
}

/// The same engine with room for `kv_tokens` tokens, in blocks as large as the traces' ids.
pub fn in_blocks_of_ids(engine: EngineConfig, kv_tokens: usize) -> EngineConfig {
    EngineConfig { block_tokens: BLOCK_TOKENS, blocks: (kv_tokens / BLOCK_TOKENS).max(2), ..engine }
}

/// The tier that most figures are about: eight replicas, sixteen engines of middle size, the default
/// configuration.
pub fn usual() -> Plan {
    Plan {
        replicas: 8,
        zones: Zones::ONE,
        engines: 16,
        engine: engine(KV_TOKENS),
        slow_engines: 0,
        slowness: 1.0,
        pairs: None,
        way: Way::Schedulers(Sharing::Full),
        loss: 0.0,
        seed: 1,
        config: murmuration::config::default_text().to_owned(),
        patience: PATIENCE,
    }
}

// === impl Plan ===

impl Zones {
    /// All are near each other.
    pub const ONE: Self = Self { count: 1, apart: Duration::ZERO };

    /// The zone of a replica or an engine.
    pub fn of(self, number: usize) -> usize {
        number % self.count.max(1)
    }
}

impl Plan {
    /// The same tier as one replica that knows everything at once.
    pub fn oracle(&self) -> Self {
        Self { replicas: 1, way: Way::Schedulers(Sharing::Full), ..self.clone() }
    }

    /// How many times as long the steps of engine number `n` take. Slow engines are spread over the numbers.
    pub fn slowness_of(&self, n: usize) -> f64 {
        let before = |n: usize| n * self.slow_engines / self.engines.max(1);
        if before(n + 1) > before(n) { self.slowness } else { 1.0 }
    }

    /// The same tier with another way of choosing.
    pub fn by(&self, way: Way) -> Self {
        Self { way, ..self.clone() }
    }

    /// The role of engine number `n`, if it has one.
    pub fn role_of(&self, n: usize) -> Option<&'static str> {
        self.pairs.map(|pairs| if n < pairs.prefillers { "prefill" } else { "decode" })
    }

    /// What replicas share with each other.
    pub fn sharing(&self) -> Sharing {
        match self.way {
            Way::RoundRobin => Sharing::None,
            Way::Schedulers(sharing) => sharing,
        }
    }
}

// === impl Sharing ===

impl Sharing {
    /// Whether replicas have peer streams.
    pub fn streams(self) -> bool {
        matches!(self, Self::Full | Self::Streams | Self::LoadOnly | Self::CacheOnly)
    }

    /// Whether gossip carries facts.
    pub fn gossip(self) -> bool {
        matches!(self, Self::Full | Self::Gossip | Self::LoadOnly | Self::CacheOnly)
    }

    /// Whether each engine has one keeper; otherwise every replica scrapes it.
    pub fn keepers(self) -> bool {
        !matches!(self, Self::None | Self::Cut | Self::CacheOnly)
    }

    /// Whether replicas publish to peers, even if no lane delivers it.
    pub fn tries(self) -> bool {
        self != Self::None
    }

    /// The part of a record that is shared; `None` if nothing of it is.
    pub fn tells(self, record: Record) -> Option<Record> {
        match (self, record) {
            (Self::None, _) => None,
            (Self::CacheOnly, Record::Placement(placement)) => Some(Record::Placement(placement)),
            (Self::CacheOnly, _) => None,
            // The dispatch itself is load; its prompt is not.
            (Self::LoadOnly, Record::Placement(mut placement)) => {
                placement.anchors.clear();
                Some(Record::Placement(placement))
            }
            (_, record) => Some(record),
        }
    }
}
