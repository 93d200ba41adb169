//! A run as people read it: a score of one line an event in fixed columns, then the verdict, the figures and how to see it again.
//!
//! Must not know how a run comes about or what is right.

mod line;

pub use line::{Volume, line, volume};

use crate::judge::{Figures, Summary, Verdict};
use crate::plan::Plan;

/// The end of a report: verdict, figures, and the command that shows the run again.
pub fn epilogue(summary: &Summary, again: &str) -> String {
    let Figures { requests, served, refusals, retries, unanswered, .. } = summary.figures;
    let speed = summary.figures.virtual_s / summary.wall_s.max(1e-3);
    let [storm, after] = summary.figures.cached_shares();
    let mut text = format!("VERDICT   {}\n", summary.verdict.told());
    text += &format!(
        "REQUESTS  {requests} asked, {served} served, {refusals} refusals, {retries} retries, {unanswered} tries unanswered{}\n",
        lost(&summary.figures)
    );
    text += &format!("CACHED    {storm:.3} of prompt tokens in the storm, {after:.3} after it\n");
    for (lane, age) in &summary.figures.lanes {
        text += &format!("LANE      {lane:<7} worst age {:.1} ms in {} batches\n", age.worst_ms, age.batches);
    }
    let heal = summary.figures.heal_s.map_or("never".to_owned(), |heal| format!("{heal:.2} s after the storm"));
    let (put, agreed) = summary.figures.twins;
    text += &format!("HEALED    {heal}; {agreed} of {put} requests put to all got one answer\n");
    text += &format!(
        "TIME      {:.1} s of the town in {:.2} s here, {speed:.0} x real time\n",
        summary.figures.virtual_s, summary.wall_s
    );
    if summary.verdict != Verdict::Kept {
        text += &format!("{}\n", reproduce(again));
    }
    text
}

/// The line that says how to see a run again; `what` is a seed or the path of a plan.
pub fn reproduce(what: &str) -> String {
    format!("REPRODUCE cargo run --release --bin chaos -- replay {what}")
}

/// A plan in a few lines.
pub fn prologue(plan: &Plan) -> String {
    let (town, traffic) = (&plan.town, &plan.traffic);
    let mut text = format!(
        "PLAN      {}: {} replicas, {} engines, {} zones, {:?}, {}; {} requests a second for {} s\n",
        plan.name,
        town.replicas,
        town.engines,
        town.zones,
        town.response_path,
        if town.peer_streams { "streams and gossip" } else { "gossip alone" },
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
    use crate::plan::Town;

    #[test]
    fn a_failure_ends_with_the_command_that_shows_it_again() {
        let verdict = Verdict::Crashed { why: "boom".into() };
        let summary = |verdict| Summary { plan: "seed-7".into(), verdict, figures: Figures::default(), wall_s: 1.0 };
        let text = epilogue(&summary(verdict), "7");
        assert!(text.starts_with("VERDICT   crash: boom\n"), "{text}");
        assert!(text.ends_with("REPRODUCE cargo run --release --bin chaos -- replay 7\n"), "{text}");
        assert!(!epilogue(&summary(Verdict::Kept), "7").contains("REPRODUCE"));
    }

    #[test]
    fn a_plan_is_told_fault_by_fault() {
        let plan = Plan::from_seed(7);
        let text = prologue(&plan);
        assert_eq!(text.lines().count(), 1 + plan.faults.len(), "{text}");
        let Town { replicas, engines, zones, .. } = plan.town;
        let head = format!("PLAN      seed-7: {replicas} replicas, {engines} engines, {zones} zones, ");
        assert!(text.starts_with(&head) && text.contains(&format!("; {} requests", plan.traffic.rate)), "{text}");
    }
}
