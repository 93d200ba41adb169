//! One gauge over all series of its family: summed where parts split the value, taken once where it is repeated.
//!
//! Must not know which families matter. The schedulers of one SGLang engine may each report the one queue that they
//! share, under labels such as `tp_rank`; data-parallel parts (`dp_rank`, vLLM's `engine`) have queues of their own.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::line::Sample;
use super::page_error::PageError;

/// The suffix of labels that number the workers of one engine.
const RANK: &str = "_rank";
/// Labels with that suffix that number parts of the engine, each with its own queue and cache.
const PARTS: [&str; 3] = ["dp_rank", "attn_dp_rank", "data_parallel_rank"];

/// The series of one family that were seen so far.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// The highest value of each part; the key is a hash of the labels that tell parts apart.
    parts: BTreeMap<u64, f64>,
    /// The first impossible value. A gauge is unknown where one part of it is.
    bad: Option<PageError>,
}

// === impl Gauge ===

impl Gauge {
    /// Adds a series.
    ///
    /// # Errors
    /// When the value is no number at all: then the page is no metrics page. NaN, infinity and negative numbers
    /// only make the gauge unknown.
    pub(super) fn add(&mut self, sample: &Sample<'_>) -> Result<(), PageError> {
        let value = sample.value()?;
        if !value.is_finite() || value < 0.0 {
            self.bad.get_or_insert_with(|| sample.bad());
            return Ok(());
        }
        let highest = self.parts.entry(part(sample)).or_default();
        *highest = highest.max(value);
        Ok(())
    }

    /// Whether no series was seen.
    pub(super) fn is_absent(&self) -> bool {
        self.parts.is_empty() && self.bad.is_none()
    }

    /// The sum over the parts; `None` where it is unknown.
    pub(super) fn sum(&self) -> Option<f64> {
        (self.bad.is_none() && !self.parts.is_empty()).then(|| self.parts.values().sum())
    }

    /// The mean over the parts; `None` where it is unknown.
    pub(super) fn mean(&self) -> Option<f64> {
        self.sum().map(|sum| sum / self.parts.len() as f64)
    }

    /// Why the gauge is unknown although it was seen.
    pub(super) fn into_error(self) -> Option<PageError> {
        self.bad
    }
}

/// The part of the engine that a series belongs to, as a hash of its labels in any order.
fn part(sample: &Sample<'_>) -> u64 {
    let repeats = |name: &str| name.ends_with(RANK) && !PARTS.contains(&name);
    let labels = sample.labels().filter(|(name, _)| !repeats(name));
    labels.fold(0, |sum, (name, value)| sum.wrapping_add(xxh3_64_with_seed(value.as_bytes(), xxh3_64(name.as_bytes()))))
}
