//! A comparison as a table for people: one line for each way, then the lanes.
//!
//! Must not know how a run works.

use std::fmt::Write;

use murmuration_actors::text_table::{self, left, right};

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
