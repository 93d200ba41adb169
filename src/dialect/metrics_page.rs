//! Reads an engine's metrics page (Prometheus text), in one pass, for the few families that matter.
//!
//! Must not know how the page was fetched. A torn or foreign page is an error, never a report with made-up zeros. Of a
//! whole page each gauge counts by itself: a gauge that is missing or has an impossible value is unknown.

mod gauge;
mod line;
mod page_error;

use memchr::memchr;

use crate::dialect::engine::{EngineSpec, MetricSpec};
use crate::fleet::{Adapters, CacheGeometry, LoadReport, Missing, Process};
use gauge::Gauge;
use line::Sample;

pub use page_error::PageError;

/// The family in which vLLM reports whether it sleeps.
const SLEEP_FAMILY: &str = "vllm:engine_sleep_state";
/// The family in which a process reports its start time.
const START_FAMILY: &str = "process_start_time_seconds";
/// Counters of work that engines keep; each engine has one of them. A counter that goes back belongs to a new process.
const WORK_FAMILIES: [&str; 4] = [
    "vllm:prompt_tokens_total",
    "sglang:prompt_tokens_total",
    "trtllm_request_success_total",
    "nv_inference_request_success",
];

/// A gauge under its name, and under the names that it had in earlier releases.
#[derive(Debug, Default)]
struct Named {
    current: Gauge,
    older: Gauge,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Reading {
    waiting: Named,
    running: Named,
    kv_usage: Named,
    lora: Option<(f64, Adapters)>,
    block_size: Option<u32>,
    blocks: u64,
    asleep: bool,
    process: Process,
}

/// Reads a page by the names of `spec`.
///
/// Requests are summed and KV use is averaged over data-parallel engines on one port. Of LoRA series the newest counts:
/// an engine keeps every label set it ever had.
///
/// # Errors
/// [`PageError`], when the page is torn or foreign, or when no gauge on it has a possible value.
pub fn read_page(page: &[u8], spec: &EngineSpec) -> Result<LoadReport, PageError> {
    if page.last() != Some(&b'\n') {
        return Err(PageError::Torn("it does not end with a line's end".to_owned()));
    }
    let mut reading = Reading::default();
    let mut rest = page;
    while let Some(end) = memchr(b'\n', rest) {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        if !matches!(line.first(), None | Some(b'#')) {
            reading.line(line, spec)?;
        }
    }
    reading.report(spec)
}

// === impl Reading ===

impl Reading {
    fn line(&mut self, line: &[u8], spec: &EngineSpec) -> Result<(), PageError> {
        let family = line::family(line);
        let is = |wanted: &Option<MetricSpec>| wanted.as_ref().is_some_and(|wanted| wanted.family.as_bytes() == family);
        self.waiting.line(family, line, spec.waiting.as_ref())?;
        self.running.line(family, line, spec.running.as_ref())?;
        self.kv_usage.line(family, line, spec.kv_usage.as_ref())?;
        if is(&spec.lora) {
            self.lora(&Sample::read(line)?);
        }
        if is(&spec.cache_info) {
            self.cache_info(&Sample::read(line)?, spec);
        }
        if is(&spec.cache_block_size) {
            let size = Sample::read(line)?.whole_number(u32::MAX.into());
            self.block_size = size.and_then(|size| u32::try_from(size).ok());
        }
        if is(&spec.cache_num_blocks) {
            let blocks = Sample::read(line)?.whole_number(u64::MAX).unwrap_or(0);
            self.blocks = self.blocks.saturating_add(blocks);
        }
        if family == SLEEP_FAMILY.as_bytes() {
            let sample = Sample::read(line)?;
            self.asleep |= sample.label("sleep_state").is_some_and(|state| state == "awake") && sample.value()? == 0.0;
        }
        self.process(family, line)
    }

    /// Reads signs of which process it is. An impossible value is ignored; the load on the page still counts.
    fn process(&mut self, family: &[u8], line: &[u8]) -> Result<(), PageError> {
        if family == START_FAMILY.as_bytes() {
            let seconds = Sample::read(line)?.value()?;
            // A start time that is not in this or the next centuries is ignored. The cast keeps the milliseconds.
            let sane = (0.0..1e11).contains(&seconds);
            self.process.started_ms = self.process.started_ms.max(sane.then_some((seconds * 1_000.0) as u64));
        } else if WORK_FAMILIES.iter().any(|work| work.as_bytes() == family)
            && let Some(more) = Sample::read(line)?.whole_number(u64::MAX)
        {
            self.process.work = Some(self.process.work.unwrap_or(0).saturating_add(more));
        }
        Ok(())
    }

    fn lora(&mut self, sample: &Sample<'_>) {
        // A series whose value is no time can't be the newest.
        let Some(when) = sample.value().ok().filter(|when| when.is_finite()) else { return };
        if self.lora.as_ref().is_some_and(|(newest, _)| *newest >= when) {
            return;
        }
        let names = |label: &str| -> Vec<String> {
            let list = sample.label(label).unwrap_or_default();
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let max = sample.label("max_lora").and_then(|max| max.parse().ok()).unwrap_or(0);
        let adapters =
            Adapters { max, running: names("running_lora_adapters"), waiting: names("waiting_lora_adapters") };
        self.lora = Some((when, adapters));
    }

    fn cache_info(&mut self, sample: &Sample<'_>, spec: &EngineSpec) {
        let number = |label: &str| sample.label(label).and_then(|value| value.parse::<u64>().ok());
        if let Some(size) = number(&spec.cache_block_size_label).and_then(|size| u32::try_from(size).ok()) {
            self.block_size = Some(size);
        }
        self.blocks = self.blocks.saturating_add(number(&spec.cache_num_blocks_label).unwrap_or(0));
    }

    fn report(self, spec: &EngineSpec) -> Result<LoadReport, PageError> {
        let [waiting, running, kv_usage] = [self.waiting, self.running, self.kv_usage].map(Named::choose);
        let (queue, batch, cache_use) = (waiting.sum(), running.sum(), kv_usage.mean());
        if queue.is_none() && batch.is_none() && cache_use.is_none() {
            return Err(no_gauge_known([waiting, running, kv_usage], spec));
        }
        let cache = self.block_size.filter(|&size| size > 0 && self.blocks > 0);
        Ok(LoadReport {
            waiting: count(queue),
            running: count(batch),
            kv_usage: cache_use.unwrap_or(0.0).clamp(0.0, 1.0),
            missing: Missing { waiting: queue.is_none(), running: batch.is_none(), kv_usage: cache_use.is_none() },
            adapters: self.lora.map(|(_, adapters)| adapters),
            cache: cache.map(|block_tokens| CacheGeometry { block_tokens, blocks: self.blocks }),
            awake: !self.asleep,
            process: self.process,
        })
    }
}

/// The error for a page on which no gauge is known.
fn no_gauge_known(gauges: [Gauge; 3], spec: &EngineSpec) -> PageError {
    let foreign = || {
        let wanted = [&spec.waiting, &spec.running, &spec.kv_usage].into_iter().flatten().next();
        let family = wanted.map_or_else(String::new, |wanted| wanted.family.clone());
        PageError::Foreign { family, engine: spec.name.clone() }
    };
    gauges.into_iter().find_map(Gauge::into_error).unwrap_or_else(foreign)
}

/// A gauge of requests as a whole number; values beyond `u32` become its maximum.
fn count(total: Option<f64>) -> u32 {
    total.unwrap_or(0.0).round().clamp(0.0, f64::from(u32::MAX)) as u32
}

// === impl Named ===

impl Named {
    fn line(&mut self, family: &[u8], line: &[u8], spec: Option<&MetricSpec>) -> Result<(), PageError> {
        let Some(spec) = spec else { return Ok(()) };
        let gauge = if spec.family.as_bytes() == family {
            &mut self.current
        } else if spec.older.iter().any(|older| older.as_bytes() == family) {
            &mut self.older
        } else {
            return Ok(());
        };
        let sample = Sample::read(line)?;
        let labelled = |(key, value): &(String, String)| sample.label(key).is_some_and(|is| is == *value);
        if spec.labels.iter().all(labelled) { gauge.add(&sample) } else { Ok(()) }
    }

    /// The gauge under the name that is on the page, the current one first.
    fn choose(self) -> Gauge {
        if self.current.is_absent() { self.older } else { self.current }
    }
}

// === impl PageError ===

impl PageError {
    /// The stable label for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Torn(_) | Self::BadNumber { .. } => "torn",
        }
    }
}

#[cfg(test)]
mod tests;
