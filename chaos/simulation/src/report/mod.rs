//! A run as text for people: a trace with one line an entry in fixed columns, then the verdict, the figures, and the
//! command that repeats the run.
//!
//! Must not know how a run is made or what is right.

mod line;

pub use line::{Volume, line, volume};

use crate::checker::{Figures, Summary, Verdict};
use crate::plan::Plan;

/// The end of a report: verdict, figures, and, after a failure, the command that repeats the run.
pub fn epilogue(summary: &Summary, again: &str) -> String {
    let Figures { requests, served, refusals, retries, unanswered, .. } = summary.figures;
    let speed = summary.figures.virtual_s / summary.wall_s.max(1e-3);
    let [storm, after] = summary.figures.cached_shares();
    let mut text = format!("VERDICT   {}\n", summary.verdict.told());
    text += &format!(
        "REQUESTS  {requests} asked, {served} served, {refusals} refusals, {retries} retries, {unanswered} attempts unanswered{}\n",
        lost(&summary.figures)
    );
    text += &format!("CACHED    {storm:.3} of prompt tokens during the storm, {after:.3} after it\n");
    if summary.figures.pairs != [0; 3] {
        let [moved, computed, failed] = summary.figures.pairs;
        let (put, agreed) = summary.figures.twin_pairs;
        text += &format!(
            "PAIRS     {moved} with moved KV, {computed} with a prompt computed again, {failed} failed; after the storm {agreed} of {put} equal on all replicas\n"
        );
    }
    for (lane, age) in &summary.figures.lanes {
        text += &format!("LANE      {lane:<7} worst age {:.1} ms in {} batches\n", age.worst_ms, age.batches);
    }
    let heal = summary.figures.heal_s.map_or("never".to_owned(), |heal| format!("{heal:.2} s after the storm"));
    let (put, agreed) = summary.figures.twins;
    text += &format!("RECOVERED {heal}; {agreed} of {put} requests put to all replicas got equal answers\n");
    text += &format!(
        "TIME      {:.1} s of virtual time in {:.2} s, {speed:.0} x real time\n",
        summary.figures.virtual_s, summary.wall_s
    );
    if summary.verdict != Verdict::Kept {
        text += &format!("{}\n", reproduce(again));
    }
    text
}

/// The line with the command that repeats a run; `what` is a seed or the path of a plan.
pub fn reproduce(what: &str) -> String {
    format!("REPRODUCE cargo run --release --bin chaos -- trace {what}")
}

/// A plan in a few lines.
pub fn prologue(plan: &Plan) -> String {
    let (cluster, traffic) = (&plan.cluster, &plan.traffic);
    let mut text = format!(
        "PLAN      {}: {} replicas, {} engines, {} zones{}, {:?}, {}; {} requests a second for {} s\n",
        plan.name,
        cluster.replicas,
        cluster.engines,
        cluster.zones,
        if cluster.zone_latency.is_zero() { String::new() } else { format!(" {:?} apart", cluster.zone_latency) },
        cluster.response_path,
        if cluster.peer_streams { "streams and gossip" } else { "gossip alone" },
        traffic.rate,
        plan.duration.as_secs_f64()
    );
    for (index, strike) in plan.faults.iter().enumerate() {
        text += &format!("FAULT     {index:>2}  {strike}\n");
    }
    text
}

fn lost(figures: &Figures) -> String {
    figures.lost.iter().map(|(how, count)| format!(", {count} {}", how.to_lowercase())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ClusterSpec;

    #[test]
    fn a_failure_ends_with_the_command_that_repeats_it() {
        let verdict = Verdict::Crashed { why: "boom".into() };
        let summary = |verdict| Summary { plan: "seed-7".into(), verdict, figures: Figures::default(), wall_s: 1.0 };
        let text = epilogue(&summary(verdict), "7");
        assert!(text.starts_with("VERDICT   crash: boom\n"), "{text}");
        assert!(text.ends_with("REPRODUCE cargo run --release --bin chaos -- trace 7\n"), "{text}");
        assert!(!epilogue(&summary(Verdict::Kept), "7").contains("REPRODUCE"));
    }

    #[test]
    fn a_plan_is_printed_fault_by_fault() {
        let plan = Plan::from_seed(7);
        let text = prologue(&plan);
        assert_eq!(text.lines().count(), 1 + plan.faults.len(), "{text}");
        let ClusterSpec { replicas, engines, zones, .. } = plan.cluster;
        let head = format!("PLAN      seed-7: {replicas} replicas, {engines} engines, {zones} zones, ");
        assert!(text.starts_with(&head) && text.contains(&format!("; {} requests", plan.traffic.rate)), "{text}");
    }
}
