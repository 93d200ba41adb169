//! One scheduling profile: filters remove rows, scorers rate the rest, the picker chooses.
//!
//! Must not know what any plugin does, nor other profiles.

use std::borrow::Cow;

use crate::chance::Chance;
use crate::plugin::{Filter, Picker, Scorer};
use crate::schedule::decision::{
    CostTerms, FilterExplanation, ProfileExplanation, REMOVED_MAX, ROWS_MAX, RowExplanation, ScorerName, Target,
};
use crate::schedule::named::Named;
use crate::schedule::{Ask, Candidate, Stage, Uncertainty};

/// A scorer and its weight.
#[derive(Debug)]
pub struct Weighted {
    /// What its scores are multiplied by; negative weights are legal and make a score a cost.
    pub weight: f64,
    /// The scorer.
    pub scorer: Named<dyn Scorer>,
}

/// A profile with its plugins, in the configuration's order.
#[derive(Debug)]
pub struct SchedulingProfile {
    /// The profile's name.
    pub name: String,
    /// Filters, run in order.
    pub filters: Vec<Named<dyn Filter>>,
    /// Scorers, summed.
    pub scorers: Vec<Weighted>,
    /// The picker.
    pub picker: Named<dyn Picker>,
}

/// The result of a profile's run.
#[derive(Clone, Debug, PartialEq)]
pub struct ProfileRun {
    /// Chosen endpoints, the serving one first; empty when no candidate was left.
    pub targets: Vec<Target>,
    /// The reasons.
    pub explanation: ProfileExplanation,
}

// === impl SchedulingProfile ===

impl SchedulingProfile {
    /// Runs the profile over `candidates`.
    pub fn run(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], chance: &mut Chance) -> ProfileRun {
        let (rows, filters) = self.narrowed(ask, candidates);

        // Column by column: `sheet[s * rows + i]` is the score of row `i` by scorer `s`.
        let mut sheet = vec![0.0; self.scorers.len() * rows.len()];
        let mut totals = vec![0.0; rows.len()];
        if !rows.is_empty() {
            for (weighted, column) in self.scorers.iter().zip(sheet.chunks_exact_mut(rows.len())) {
                weighted.scorer.plugin.score(ask, &rows, column);
                for (score, total) in column.iter_mut().zip(&mut totals) {
                    *score = clamped(*score);
                    *total += *score * weighted.weight;
                }
            }
        }

        let mut chosen = Vec::new();
        if !rows.is_empty() {
            let ask = &self.asked_of_the_picker(ask);
            self.picker.plugin.pick(ask, &rows, &totals, chance, &mut chosen);
        }
        let targets: Vec<Target> = chosen.iter().map(|&i| target(&rows[i], totals[i])).collect();
        let explanation = self.explain(ask, &rows, &sheet, &totals, &chosen, filters);
        ProfileRun { targets, explanation }
    }

    /// Whether a scorer allows for what other replicas dispatch at the same moment.
    pub fn expects_others(&self) -> bool {
        self.scorers.iter().any(|weighted| weighted.scorer.plugin.expects_others())
    }

    /// The question without the burst, if a scorer has allowed for that.
    fn asked_of_the_picker<'a>(&self, ask: &Ask<'a>) -> Ask<'a> {
        match ask.uncertainty {
            Uncertainty::Concurrent(_) if self.expects_others() => Ask { uncertainty: Uncertainty::None, ..*ask },
            _ => *ask,
        }
    }

    /// The candidates that the filters leave. Failing endpoints are candidates only if the filters leave no other: they
    /// give way to endpoints that may serve the request, and serve where there are none.
    pub(super) fn narrowed<'a, 'c>(
        &self,
        ask: &Ask<'_>,
        candidates: &'c [Candidate<'a>],
    ) -> (Cow<'c, [Candidate<'a>]>, Vec<FilterExplanation>) {
        let filtered = |mut rows: Vec<Candidate<'a>>| -> (Cow<'c, [Candidate<'a>]>, _) {
            let filters = self.filters.iter().map(|filter| apply(filter, ask, &mut rows)).collect::<Vec<_>>();
            (Cow::Owned(rows), filters)
        };
        let some_fail = candidates.iter().any(|row| row.failing.is_some());
        if self.filters.is_empty() && !some_fail {
            return (Cow::Borrowed(candidates), Vec::new());
        }
        let healthy = candidates.iter().filter(|row| row.failing.is_none()).copied().collect();
        let (rows, filters) = filtered(healthy);
        if rows.is_empty() && some_fail { filtered(candidates.to_vec()) } else { (rows, filters) }
    }

    fn explain(
        &self,
        ask: &Ask<'_>,
        rows: &[Candidate<'_>],
        sheet: &[f64],
        totals: &[f64],
        chosen: &[usize],
        filters: Vec<FilterExplanation>,
    ) -> ProfileExplanation {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        let better = |&a: &usize, &b: &usize| totals[b].total_cmp(&totals[a]).then(a.cmp(&b));
        if order.len() > ROWS_MAX {
            order.select_nth_unstable_by(ROWS_MAX, better);
            order.truncate(ROWS_MAX);
        }
        order.sort_unstable_by(better);
        let margin = chosen.first().map_or(0.0, |&first| {
            let runner_up = order.iter().find(|&&i| i != first).map_or(0.0, |&i| totals[i]);
            totals[first] - runner_up
        });
        let terms = self.scorers.iter().map(|weighted| weighted.scorer.plugin.terms(ask, rows, &order));
        let terms = terms.into_iter().find(|terms| !terms.is_empty()).unwrap_or_default();
        let row = |(place, &i): (usize, &usize)| {
            let scores = (0..self.scorers.len()).map(|s| sheet[s * rows.len() + i]).collect();
            explained(&rows[i], totals[i], scores, terms.get(place).copied())
        };
        ProfileExplanation {
            profile: self.name.clone(),
            stage: Stage::default(),
            filters,
            scorers: self.scorers.iter().map(scorer_name).collect(),
            rows: order.iter().enumerate().map(row).collect(),
            picked: chosen.iter().map(|&i| rows[i].endpoint.id.clone()).collect(),
            margin,
        }
    }
}

/// Runs one filter and removes the rows that it rejects, keeping the order.
fn apply(filter: &Named<dyn Filter>, ask: &Ask<'_>, rows: &mut Vec<Candidate<'_>>) -> FilterExplanation {
    let before = rows.len();
    let mut keep = vec![true; before];
    filter.plugin.filter(ask, rows, &mut keep);
    let removed = rows.iter().zip(&keep).filter(|(_, keep)| !**keep);
    let removed = removed.take(REMOVED_MAX).map(|(row, _)| row.endpoint.id.clone()).collect();
    let mut verdicts = keep.into_iter();
    rows.retain(|_| verdicts.next().unwrap_or(true));
    FilterExplanation { filter: filter.name.clone(), before, after: rows.len(), removed }
}

fn clamped(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score.clamp(0.0, 1.0) }
}

pub(super) fn target(row: &Candidate<'_>, score: f64) -> Target {
    Target { endpoint: row.endpoint.id.clone(), address: row.endpoint.address, matched: row.matched, score }
}

fn scorer_name(weighted: &Weighted) -> ScorerName {
    ScorerName { scorer: weighted.scorer.name.clone(), weight: weighted.weight }
}

fn explained(row: &Candidate<'_>, total: f64, scores: Vec<f64>, cost: Option<CostTerms>) -> RowExplanation {
    RowExplanation {
        endpoint: row.endpoint.id.clone(),
        total,
        scores,
        matched: row.matched,
        waiting: row.waiting,
        running: row.running,
        kv_usage: row.kv_usage,
        in_flight: row.in_flight,
        trust: row.trust,
        age: row.age,
        cost,
    }
}
