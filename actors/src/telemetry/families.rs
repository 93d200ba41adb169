//! Creates metric families, registers them and lists them.
//!
//! Must not know what any of them means.

use std::cell::RefCell;

use prometheus::{CounterVec, Error, GaugeVec, HistogramOpts, HistogramVec, Opts, Registry};

/// A metric family, as a reference page lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedFamily {
    /// Its name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// What it counts.
    pub help: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Upper bounds of its buckets; empty if it is no histogram.
    pub buckets: Vec<f64>,
}

/// A registry that families are added to one by one.
pub(super) struct Families<'a> {
    registry: &'a Registry,
    listed: RefCell<Vec<ListedFamily>>,
}

// === impl Families ===

impl<'a> Families<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self { registry, listed: RefCell::default() }
    }

    /// What was added, in alphabetical order.
    pub(super) fn listed(&self) -> Vec<ListedFamily> {
        let mut listed = self.listed.borrow().clone();
        listed.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        listed
    }

    pub(super) fn counter(&self, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec, Error> {
        let family = CounterVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(family.clone()))?;
        self.list("counter", name, help, labels, &[]);
        Ok(family)
    }

    pub(super) fn gauge(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, Error> {
        let family = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(family.clone()))?;
        self.list("gauge", name, help, labels, &[]);
        Ok(family)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: Vec<f64>,
    ) -> Result<HistogramVec, Error> {
        self.list("histogram", name, help, labels, &buckets);
        let family = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels)?;
        self.registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    fn list(&self, kind: &'static str, name: &str, help: &str, labels: &[&str], buckets: &[f64]) {
        self.listed.borrow_mut().push(ListedFamily {
            name: name.to_owned(),
            kind,
            help: help.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            buckets: buckets.to_vec(),
        });
    }
}
