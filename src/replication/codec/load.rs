//! The wire layout of an engine's load report: complete as in version 1, or with missing gauges as in version 3.
//!
//! Must not know batches.

use serde::{Deserialize, Serialize};

use super::{ADAPTERS_MAX, NAME_BYTES_MAX};
use crate::fleet::{Adapters, CacheGeometry, LoadReport, Missing, Process};

/// The maximum number of adapters, the names of the running ones, and of the waiting ones.
type WireAdapters = (u32, Vec<String>, Vec<String>);

#[derive(Serialize, Deserialize)]
pub(super) struct WireLoad {
    waiting: u32,
    running: u32,
    kv_usage: f64,
    awake: bool,
    adapters: Option<WireAdapters>,
    cache: Option<(u32, u64)>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WirePartialLoad {
    waiting: Option<u32>,
    running: Option<u32>,
    kv_usage: Option<f64>,
    awake: bool,
    adapters: Option<WireAdapters>,
    cache: Option<(u32, u64)>,
}

// === impl WireLoad ===

impl WireLoad {
    pub(super) fn of(report: &LoadReport) -> Self {
        let LoadReport { waiting, running, kv_usage, awake, .. } = *report;
        let adapters = report.adapters.as_ref().map(wire_adapters);
        let cache = report.cache.map(|cache| (cache.block_tokens, cache.blocks));
        Self { waiting, running, kv_usage, awake, adapters, cache }
    }

    /// The report; `None` when KV usage or the number of adapter names is out of range.
    pub(super) fn report(self) -> Option<LoadReport> {
        let Self { waiting, running, kv_usage, awake, adapters, cache } = self;
        let (waiting, running, kv_usage) = (Some(waiting), Some(running), Some(kv_usage));
        WirePartialLoad { waiting, running, kv_usage, awake, adapters, cache }.report()
    }
}

// === impl WirePartialLoad ===

impl WirePartialLoad {
    pub(super) fn of(report: &LoadReport) -> Self {
        let WireLoad { awake, adapters, cache, .. } = WireLoad::of(report);
        let (waiting, running, kv_usage) = (report.waiting(), report.running(), report.kv_usage());
        Self { waiting, running, kv_usage, awake, adapters, cache }
    }

    /// The report; `None` when KV usage or the number of adapter names is out of range.
    pub(super) fn report(self) -> Option<LoadReport> {
        let Self { waiting, running, kv_usage, awake, adapters, cache } = self;
        let missing = Missing { waiting: waiting.is_none(), running: running.is_none(), kv_usage: kv_usage.is_none() };
        let kv_usage = kv_usage.unwrap_or(0.0);
        let sound = |names: &[String]| names.len() <= ADAPTERS_MAX;
        if !(0.0..=1.0).contains(&kv_usage) || adapters.as_ref().is_some_and(|(_, r, w)| !sound(r) || !sound(w)) {
            return None;
        }
        Some(LoadReport {
            waiting: waiting.unwrap_or(0),
            running: running.unwrap_or(0),
            kv_usage,
            missing,
            adapters: adapters.map(|(max, running, waiting)| Adapters { max, running, waiting }),
            cache: cache.map(|(block_tokens, blocks)| CacheGeometry { block_tokens, blocks }),
            awake,
            process: Process::default(),
        })
    }
}

fn wire_adapters(adapters: &Adapters) -> WireAdapters {
    let names =
        |names: &[String]| names.iter().filter(|n| n.len() <= NAME_BYTES_MAX).take(ADAPTERS_MAX).cloned().collect();
    (adapters.max, names(&adapters.running), names(&adapters.waiting))
}
