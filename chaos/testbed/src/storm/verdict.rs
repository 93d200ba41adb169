//! Compares figures with a plan's bars.
//!
//! Must not know how figures are computed.

use std::time::Duration;

use serde::Serialize;

use super::figures::Figures;
use murmuration_simulation::plan::Bars;

/// One bar and what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Judged {
    /// What the bar is about.
    pub(super) what: &'static str,
    /// What the plan demands.
    pub(super) bar: String,
    /// What was measured.
    pub(super) measured: String,
    /// Whether it is met.
    pub(super) met: bool,
}

/// Compares each bar that a plan has with its figure.
pub(super) fn judge(bars: &Bars, figures: &Figures) -> Vec<Judged> {
    let mut all = Vec::new();
    let mut add = |what, bar: String, measured: String, met| all.push(Judged { what, bar, measured, met });
    if let Some(most) = bars.failed {
        add("failed requests", format!("<= {most}"), figures.failed.to_string(), figures.failed as u64 <= most);
    }
    if let Some(most) = bars.failed_share {
        let share = figures.failed_share;
        add("share of requests that failed", format!("<= {most}"), format!("{share:.4}"), share <= most);
    }
    if let Some(least) = bars.cached_ratio {
        let ratio = figures.cached_ratio;
        add("cached share, during / before", format!(">= {least}"), told(ratio, 3), ratio.is_some_and(|r| r >= least));
    }
    let mut span = |what, bar: Option<Duration>, measured: Option<f64>| {
        if let Some(bar) = bar {
            let most = bar.as_secs_f64();
            let met = measured.is_some_and(|measured| measured <= most);
            all.push(Judged { what, bar: format!("<= {most} s"), measured: told(measured, 2) + " s", met });
        }
    };
    span("until no replica counts a silent one's work", bars.clean_within, figures.clean_s);
    span("until all replicas see each other again", bars.heal_within, figures.heal_s);
    span("until views are equal, after the last answer", bars.equal_within, figures.equal_s);
    if let Some(equal) = all.last_mut().filter(|_| bars.equal_within.is_some() && !figures.unequal.is_empty()) {
        let parts: Vec<&str> = figures.unequal.iter().map(String::as_str).collect();
        equal.measured = format!("never: {}", parts.join(", "));
    }
    if bars.clean_within.is_some() {
        let ghosts = figures.ghosts;
        all.push(Judged {
            what: "observations that count it after 2 s",
            bar: "0".to_owned(),
            measured: ghosts.to_string(),
            met: ghosts == 0,
        });
    }
    if bars.both_sides_serve {
        let fewest = figures.fewest_decisions;
        all.push(Judged {
            what: "decisions of every replica during cuts",
            bar: ">= 1".to_owned(),
            measured: told(fewest, 0),
            met: fewest.is_some_and(|fewest| fewest >= 1.0),
        });
    }
    all
}

/// A number with `digits` decimal digits, or a dash.
pub(super) fn told(number: Option<f64>, digits: usize) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.digits$}"))
}
