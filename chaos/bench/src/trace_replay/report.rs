//! A comparison as a table for people: one line for each way, then the lanes.
//!
//! Must not know how a run works.

use std::fmt::Write;

use super::experiment::Comparison;
use super::tally::Outcome;

/// The table.
pub fn table(comparison: &Comparison) -> String {
    let Comparison { replication, oracle, baselines } = comparison;
    let mut text = format!(
        "{:<16} {:>7} {:>9} {:>9} {:>9} {:>8} {:>6} {:>7} {:>7} {:>7} {:>8} {:>8}\n",
        "", "hit", "ttft mean", "p50", "p99", "load cov", "work", "agree", "quiet", "equal", "hit/ora", "ttft/ora"
    );
    let others = baselines.iter().map(|(name, outcome)| (*name, outcome));
    for (name, outcome) in [("replication", replication), ("oracle", oracle)].into_iter().chain(others) {
        row(&mut text, name, outcome, oracle);
    }
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

fn row(text: &mut String, name: &str, outcome: &Outcome, oracle: &Outcome) {
    let percent = |share: Option<f64>| share.map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0));
    let _ = writeln!(
        text,
        "{name:<16} {:>7.4} {:>8.3}s {:>8.3}s {:>8.3}s {:>8.3} {:>6.3} {:>7} {:>7} {:>7} {:>8.3} {:>8.3}{}",
        outcome.hit,
        outcome.ttft_mean_s,
        outcome.ttft_p50_s,
        outcome.ttft_p99_s,
        outcome.load_cov,
        outcome.work,
        percent(outcome.agreement),
        percent(outcome.agreement_quiet),
        percent(outcome.agreement_equal),
        outcome.hit / oracle.hit.max(1e-9),
        outcome.ttft_mean_s / oracle.ttft_mean_s.max(1e-9),
        if outcome.unfinished > 0 { format!("  {} unfinished", outcome.unfinished) } else { String::new() }
    );
}
