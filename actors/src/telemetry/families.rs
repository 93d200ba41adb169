//! Creates metric families and registers them.
//!
//! Must not know what any of them means.

use prometheus::{CounterVec, Error, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

/// A registry that families are added to one by one.
pub(super) struct Families<'a>(pub(super) &'a Registry);

// === impl Families ===

impl Families<'_> {
    pub(super) fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, Error> {
        let family = CounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    pub(super) fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, Error> {
        let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
        self.0.register(Box::new(family.clone()))?;
        Ok(family)
    }
}
