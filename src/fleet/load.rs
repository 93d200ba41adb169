//! An engine's load, as reported on its metrics page.
//!
//! Must not know Prometheus text (that is `dialect/metrics_page`), nor how scorers use it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

/// One reading of an engine's own gauges. Only ever built from a whole page: a torn page gives no report, never zeros.
///
/// A gauge that the page lacks is [`Missing`]; its number here is zero and means nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(into = "Shown")]
pub struct LoadReport {
    /// Requests in the engine's queue, summed over its data-parallel engines.
    pub waiting: u32,
    /// Requests in the engine's batch, summed likewise.
    pub running: u32,
    /// Share of KV-cache blocks held by live requests, `0..=1`, the mean over engines.
    pub kv_usage: f64,
    /// Which of the three gauges above the page lacks.
    pub missing: Missing,
    /// LoRA adapters; `None` where the engine reports none.
    pub adapters: Option<Adapters>,
    /// The engine's KV-cache geometry; `None` where the engine reports none.
    pub cache: Option<CacheGeometry>,
    /// `false` while the engine says it is asleep: its `/health` still answers 200 and its requests hang.
    pub awake: bool,
    /// What distinguishes one run of the engine's process from the next. Never sent to peers.
    pub process: Process,
}

/// Gauges that a page lacks: unknown, which is not zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Requests in the queue.
    pub waiting: bool,
    /// Requests in the batch.
    pub running: bool,
    /// KV use.
    pub kv_usage: bool,
}

/// Signs of an engine's process. Compared only with earlier ones of the same endpoint, never with a clock of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// When the process started, in milliseconds of its own clock; `None` where the page lacks it.
    pub started_ms: Option<u64>,
    /// Work done since the process started, from a counter that only grows; `None` where the page lacks it.
    pub work: Option<u64>,
}

/// A report as it is shown to people: a missing gauge is `null`, not zero.
#[derive(Serialize)]
struct Shown {
    waiting: Option<u32>,
    running: Option<u32>,
    kv_usage: Option<f64>,
    adapters: Option<Adapters>,
    cache: Option<CacheGeometry>,
    awake: bool,
}

/// The newest series of `lora_requests_info`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Adapters {
    /// Slots for adapters on the engine.
    pub max: u32,
    /// Adapters of running requests.
    pub running: Vec<String>,
    /// Adapters of unfinished requests.
    pub waiting: Vec<String>,
}

/// `cache_config_info`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheGeometry {
    /// Tokens of a KV block.
    pub block_tokens: u32,
    /// KV blocks on the device, summed over engines.
    pub blocks: u64,
}

/// A report and its age on arrival, which is the time that its scrape took.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The report.
    pub report: LoadReport,
    /// The age of the report: from sending the scrape to handing the report over. Every request dispatched in that time
    /// may be missing from it.
    pub age: Duration,
}

// === impl CacheGeometry ===

impl CacheGeometry {
    /// Tokens that there is room for.
    pub fn tokens(self) -> u64 {
        self.blocks.saturating_mul(u64::from(self.block_tokens))
    }
}

// === impl LoadReport ===

impl LoadReport {
    /// Requests in the queue, if the page has them.
    pub fn waiting(&self) -> Option<u32> {
        (!self.missing.waiting).then_some(self.waiting)
    }

    /// Requests in the batch, if the page has them.
    pub fn running(&self) -> Option<u32> {
        (!self.missing.running).then_some(self.running)
    }

    /// KV use, if the page has it.
    pub fn kv_usage(&self) -> Option<f64> {
        (!self.missing.kv_usage).then_some(self.kv_usage)
    }

    /// Requests that the engine has not finished; `None` where the page lacks either part.
    pub fn unfinished(&self) -> Option<u32> {
        Some(self.waiting()?.saturating_add(self.running()?))
    }
}

impl From<LoadReport> for Shown {
    fn from(report: LoadReport) -> Self {
        Self {
            waiting: report.waiting(),
            running: report.running(),
            kv_usage: report.kv_usage(),
            adapters: report.adapters,
            cache: report.cache,
            awake: report.awake,
        }
    }
}

// === impl Missing ===

impl Missing {
    /// Whether the page has all gauges.
    pub fn is_none(self) -> bool {
        self == Self::default()
    }

    /// The names of the gauges that are missing, for people.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let named = [(self.waiting, "waiting"), (self.running, "running"), (self.kv_usage, "kv_usage")];
        named.into_iter().filter_map(|(missing, name)| missing.then_some(name))
    }
}

// === impl Process ===

impl Process {
    /// Whether `other` is of a later process than this one. The start decides where both have one. Several processes
    /// behind one page may alternate; only one newer than all before is news. Else a counter that went back decides.
    pub fn is_before(self, other: Self) -> bool {
        match (self.started_ms, other.started_ms) {
            (Some(known), Some(started)) => started > known,
            _ => matches!((self.work, other.work), (Some(known), Some(work)) if work < known),
        }
    }

    /// Updates to what `newer` has; what it lacks stays.
    pub fn follow(&mut self, newer: Self) {
        self.started_ms = self.started_ms.max(newer.started_ms);
        self.work = newer.work.or(self.work);
    }
}

// === impl Adapters ===

impl Adapters {
    /// Different adapters that are running or waiting. vLLM lists an adapter of running requests as waiting too.
    pub fn in_use(&self) -> usize {
        let names: BTreeSet<&str> = self.running.iter().chain(&self.waiting).map(String::as_str).collect();
        names.len()
    }
}
