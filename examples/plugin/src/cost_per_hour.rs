//! `cost-per-hour`: prefers cheap endpoints, and leaves out those that are dearer than a request allows. Those whose
//! price is not known are left out if it is told to.
//!
//! It takes four roles: as a filter it removes endpoints, as a scorer it compares their prices, and as two hooks it
//! tells the engine and the client how dear the chosen endpoint is. A price is a label of the endpoint. It knows only
//! the rows that it is given, and keeps nothing between requests: the same rows give the same scores on every replica.

use std::sync::Arc;

use murmuration::plugin::{Filter, Invalid, Plugin, Produced, RequestHook, ResponseHook, Roles, Scorer};
use murmuration::schedule::{Ask, Candidate, Decision, Header};
use serde::{Deserialize, Serialize};

use crate::budget::ATTRIBUTE;

/// Parameters, as they stand in a configuration.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Parameters {
    /// The label with the price, a number above zero.
    label: String,
    /// Whether endpoints without a price are left out. Otherwise they count as the dearest.
    required: bool,
}

/// `cost-per-hour`.
#[derive(Debug)]
pub(crate) struct CostPerHour {
    parameters: Parameters,
}

// === impl Parameters ===

impl Default for Parameters {
    fn default() -> Self {
        Self { label: "example.com/cost-per-hour".to_owned(), required: false }
    }
}

// === impl CostPerHour ===

impl CostPerHour {
    fn price(&self, row: &Candidate<'_>) -> Option<f64> {
        let price: f64 = row.endpoint.labels.get(&self.parameters.label)?.parse().ok()?;
        (price.is_finite() && price > 0.0).then_some(price)
    }

    /// `x-relative-cost`: the price of the chosen endpoint over the lowest among those that the filters left. None if
    /// the plugin scored nothing, or has another `name` than its type.
    fn price_header(&self, decision: &Decision) -> Vec<Header> {
        let profile = decision.explanation.profiles.first();
        let score = profile.and_then(|profile| {
            let column = profile.scorers.iter().position(|scorer| scorer.scorer == Self::TYPE)?;
            let chosen = profile.rows.iter().find(|row| Some(&row.endpoint) == profile.picked.first())?;
            chosen.scores.get(column).copied()
        });
        let header = score.filter(|score| *score > 0.0).map(|score| format!("{:.2}", 1.0 / score));
        header.and_then(|price| Header::new("x-relative-cost", price).ok()).into_iter().collect()
    }
}

impl Filter for CostPerHour {
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        let limit: Option<f64> = ask.request.attributes.get(ATTRIBUTE).and_then(|limit| limit.parse().ok());
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = match (self.price(row), limit) {
                (Some(price), Some(limit)) => price <= limit,
                (Some(_), None) => true,
                (None, _) => !self.parameters.required,
            };
        }
    }
}

impl Scorer for CostPerHour {
    /// The lowest price over an endpoint's own: `1.0` for the cheapest, `0.5` for one that costs twice as much.
    fn score(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        let cheapest = candidates.iter().filter_map(|row| self.price(row)).fold(f64::INFINITY, f64::min);
        for (row, score) in candidates.iter().zip(scores) {
            *score = self.price(row).map_or(0.0, |price| cheapest / price);
        }
    }
}

impl RequestHook for CostPerHour {
    fn request_headers(&self, _: &Ask<'_>, decision: &Decision) -> Vec<Header> {
        self.price_header(decision)
    }
}

impl ResponseHook for CostPerHour {
    fn response_headers(&self, _: &Ask<'_>, decision: &Decision) -> Vec<Header> {
        self.price_header(decision)
    }
}

impl Plugin for CostPerHour {
    const TYPE: &'static str = "cost-per-hour";
    const READS: &'static [Produced] = &[];
    type Parameters = Parameters;

    fn build(parameters: Parameters) -> Result<Self, Invalid> {
        if parameters.label.is_empty() {
            return Err("label must not be empty".to_owned());
        }
        Ok(Self { parameters })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self.clone())
            .and(Roles::scorer(self.clone()))
            .and(Roles::request_hook(self.clone()))
            .and(Roles::response_hook(self))
    }
}

#[cfg(test)]
#[path = "cost_per_hour_tests.rs"]
mod tests;
