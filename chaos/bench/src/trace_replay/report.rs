//! A comparison as a table for people: one line for each way, then the lanes.
//!
//! Must not know how a run works.

use std::fmt::Write;

use murmuration_actors::text_table::{self, left, right};

use super::compare::Point;
use super::experiment::Comparison;
use super::tally::Outcome;

/// The table.
pub fn table(comparison: &Comparison) -> String {
    let Comparison { replication, oracle, baselines } = comparison;
    let others = baselines.iter().map(|(name, outcome)| (*name, outcome));
    let ways = [("replication", replication), ("oracle", oracle)].into_iter().chain(others);
    let rows: Vec<_> = ways.map(|(name, outcome)| row(name, outcome, oracle)).collect();
    let figures =
        ["hit", "ttft mean", "p50", "p99", "load cov", "work", "agree", "quiet", "equal", "hit/ora", "ttft/ora"];
    let columns: Vec<_> = [left("")].into_iter().chain(figures.map(right)).chain([left("")]).collect();
    let mut text = text_table::table(&columns, &rows);
    for (name, lane) in &replication.lanes {
        // Writing to a string never fails.
        let _ = write!(
            text,
            "\n{name}: {:.2} Mbit/s sent by each replica, {} messages, {} lost, {} gaps; ages p50/p99",
            lane.bytes_per_s_per_replica * 8.0 / 1e6,
            lane.messages,
            lane.lost,
            lane.gaps
        );
        for (kind, ages) in &lane.ages {
            let _ = write!(text, ", {kind} {:.1}/{:.1} ms", ages.p50_ms, ages.p99_ms);
        }
    }
    text.push('\n');
    text
}

/// A table of configurations at several loads.
pub fn points(points: &[Point]) -> String {
    let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
    let mut rows = Vec::new();
    for point in points {
        let first = point.entries.first().map(|entry| entry.mean);
        for entry in &point.entries {
            let mean = entry.mean;
            let to_first = |value: fn(&super::compare::Figures) -> f64| {
                first.as_ref().map_or(0.0, |first| value(&mean) / value(first).max(1e-9))
            };
            rows.push([
                format!("{:.2} ({:.1}x)", point.load, point.speed),
                format!("{}@{}", entry.name, entry.replicas),
                format!("{:.3}", mean.ttft_s),
                format!("{:.2}", to_first(|one| one.ttft_s)),
                format!("{:.2}", mean.ttft_p99_s),
                format!("{:.2}", mean.ttft_s / point.bounds.alone_s),
                format!("{:.2}", mean.ttft_s / point.bounds.central_s),
                ms(mean.tpot_s),
                ms(mean.tpot_p99_s),
                format!("{:.2}", mean.e2e_s),
                format!("{:.2}", to_first(|one| one.e2e_s)),
                format!("{:.3}", mean.goodput),
                format!("{:.3}", mean.hit),
                format!("{:.3}", mean.load_cov),
                if mean.unfinished > 0.0 { format!("{:.0} unfinished", mean.unfinished) } else { String::new() },
            ]);
        }
    }
    let figures =
        ["ttft s", "/1st", "p99", "/alone", "/central", "tpot ms", "p99", "e2e s", "/1st", "goodput", "hit", "cov"];
    let columns: Vec<_> =
        [left("load"), left("config")].into_iter().chain(figures.map(right)).chain([left("")]).collect();
    text_table::table(&columns, &rows)
}

fn row(name: &str, outcome: &Outcome, oracle: &Outcome) -> [String; 13] {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0));
    let seconds = |seconds: f64| format!("{seconds:.3}s");
    [
        name.to_owned(),
        format!("{:.4}", outcome.hit),
        seconds(outcome.ttft_mean_s),
        seconds(outcome.ttft_p50_s),
        seconds(outcome.ttft_p99_s),
        format!("{:.3}", outcome.load_cov),
        format!("{:.3}", outcome.work),
        percent(outcome.agreement),
        percent(outcome.agreement_quiet),
        percent(outcome.agreement_equal),
        format!("{:.3}", outcome.hit / oracle.hit.max(1e-9)),
        format!("{:.3}", outcome.ttft_mean_s / oracle.ttft_mean_s.max(1e-9)),
        if outcome.unfinished > 0 { format!("{} unfinished", outcome.unfinished) } else { String::new() },
    ]
}
