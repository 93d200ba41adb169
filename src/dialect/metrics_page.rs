//! An engine's metrics page (Prometheus text), read in one pass for the few families that matter.
//!
//! Must not know how the page came. A page is read whole or not at all: a torn, foreign or contradictory one is an
//! error, never a report with made-up zeros.

mod line;

use memchr::memchr;

use crate::dialect::engine::{EngineSpec, MetricSpec};
use crate::fleet::{Adapters, CacheGeometry, LoadReport};
use line::Sample;

/// The family with which vLLM tells that it sleeps.
const SLEEP_FAMILY: &str = "vllm:engine_sleep_state";

/// Why a page gives no report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Nothing of what this kind of engine says is on the page.
    #[error("the page has no {family}: it is not a page of {engine}; is the label llm-d.ai/engine-type right?")]
    Foreign {
        /// The family that was looked for first.
        family: String,
        /// The kind of engine that was expected.
        engine: String,
    },
    /// The page ends in mid-line, or lacks a family that it must have.
    #[error("the page is torn: {0}")]
    Torn(String),
    /// A value is no number, or one that can't be.
    #[error("{family} has the value {text:?}, which can't be")]
    BadNumber {
        /// The family.
        family: String,
        /// The value as it stands.
        text: String,
    },
}

/// A sum over the series of one family, one for each data-parallel engine.
#[derive(Debug, Default)]
struct Sum {
    total: f64,
    series: u32,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct Reading {
    waiting: Sum,
    running: Sum,
    kv_usage: Sum,
    lora: Option<(f64, Adapters)>,
    block_size: Option<u32>,
    blocks: u64,
    asleep: bool,
}

/// Reads a page by the names of `spec`.
///
/// Requests are summed and KV use is averaged over data-parallel engines on one port. Of LoRA series the newest counts:
/// an engine keeps every label set it ever had.
///
/// # Errors
/// [`PageError`], when the page is torn, foreign, or says what can't be.
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
        if is(&spec.waiting) {
            self.waiting.add(line, spec.waiting.as_ref())?;
        }
        if is(&spec.running) {
            self.running.add(line, spec.running.as_ref())?;
        }
        if is(&spec.kv_usage) {
            self.kv_usage.add(line, spec.kv_usage.as_ref())?;
        }
        if is(&spec.lora) {
            self.lora(Sample::read(line)?)?;
        }
        if is(&spec.cache_info) {
            self.cache_info(&Sample::read(line)?, spec);
        }
        if is(&spec.cache_block_size) {
            self.block_size = Some(Sample::read(line)?.whole_number()?);
        }
        if is(&spec.cache_num_blocks) {
            self.blocks += u64::from(Sample::read(line)?.whole_number()?);
        }
        if family == SLEEP_FAMILY.as_bytes() {
            let sample = Sample::read(line)?;
            self.asleep |= sample.label("sleep_state").is_some_and(|state| state == "awake") && sample.value()? == 0.0;
        }
        Ok(())
    }

    fn lora(&mut self, sample: Sample<'_>) -> Result<(), PageError> {
        let when = sample.value()?;
        if self.lora.as_ref().is_some_and(|(newest, _)| *newest >= when) {
            return Ok(());
        }
        let names = |label: &str| -> Vec<String> {
            let list = sample.label(label).unwrap_or_default();
            list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let max = sample.label("max_lora").and_then(|max| max.parse().ok()).unwrap_or(0);
        let adapters =
            Adapters { max, running: names("running_lora_adapters"), waiting: names("waiting_lora_adapters") };
        self.lora = Some((when, adapters));
        Ok(())
    }

    fn cache_info(&mut self, sample: &Sample<'_>, spec: &EngineSpec) {
        let number = |label: &str| sample.label(label).and_then(|value| value.parse::<u64>().ok());
        if let Some(size) = number(&spec.cache_block_size_label).and_then(|size| u32::try_from(size).ok()) {
            self.block_size = Some(size);
        }
        self.blocks = self.blocks.saturating_add(number(&spec.cache_num_blocks_label).unwrap_or(0));
    }

    fn report(self, spec: &EngineSpec) -> Result<LoadReport, PageError> {
        let wanted = [(&spec.waiting, &self.waiting), (&spec.running, &self.running), (&spec.kv_usage, &self.kv_usage)];
        let wanted = wanted.into_iter().filter_map(|(spec, sum)| spec.as_ref().map(|spec| (spec, sum)));
        let missing: Vec<&MetricSpec> =
            wanted.clone().filter(|(_, sum)| sum.series == 0).map(|(spec, _)| spec).collect();
        if let Some(first) = missing.first() {
            if missing.len() == wanted.count() {
                return Err(PageError::Foreign { family: first.family.clone(), engine: spec.name.clone() });
            }
            return Err(PageError::Torn(format!("it has no {}", first.family)));
        }
        let cache = self.block_size.filter(|&size| size > 0 && self.blocks > 0);
        let average = self.kv_usage.total / f64::from(self.kv_usage.series.max(1));
        Ok(LoadReport {
            waiting: count(self.waiting.total),
            running: count(self.running.total),
            kv_usage: average.clamp(0.0, 1.0),
            adapters: self.lora.map(|(_, adapters)| adapters),
            cache: cache.map(|block_tokens| CacheGeometry { block_tokens, blocks: self.blocks }),
            awake: !self.asleep,
        })
    }
}

/// A gauge of requests as a number of them; what is beyond `u32` is as good as its maximum.
fn count(total: f64) -> u32 {
    total.round().clamp(0.0, f64::from(u32::MAX)) as u32
}

// === impl Sum ===

impl Sum {
    fn add(&mut self, line: &[u8], spec: Option<&MetricSpec>) -> Result<(), PageError> {
        let sample = Sample::read(line)?;
        if spec
            .is_some_and(|spec| spec.labels.iter().all(|(key, value)| sample.label(key).is_some_and(|is| is == *value)))
        {
            self.total += sample.gauge()?;
            self.series += 1;
        }
        Ok(())
    }
}

// === impl PageError ===

impl PageError {
    /// The stable word for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Foreign { .. } => "foreign",
            Self::Torn(_) | Self::BadNumber { .. } => "torn",
        }
    }
}

#[cfg(test)]
mod tests;
