//! The table of storms on real processes, each with the bars of its plan.

use serde_json::Value;

use super::super::Failure;
use super::document::Row;
use super::json::{met, number};
use super::runs;

/// The table's name on the page.
pub(super) const TABLE: &str = "storms";

/// The storms of the page.
const STORMS: [&[&str]; 13] = [
    &["kill-one"],
    &["kill-one", "--answers", "leave"],
    &["kill-all-but-one"],
    &["rolling-restart"],
    &["rolling-restart", "--rate", "200"],
    &["scale"],
    &["freeze"],
    &["partition-zones"],
    &["zone-lost"],
    &["lossy-links"],
    &["late-links"],
    &["engine-churn"],
    &["everything"],
];

/// Runs every storm that can be run on this machine.
pub(super) fn rows(short: bool) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for storm in STORMS {
        let mut arguments = vec!["--storm"];
        arguments.extend(storm);
        arguments.push("--json");
        arguments.extend(short.then_some("--short"));
        // A storm that misses a bar ends with a failure, and its row says so.
        let report = runs::beside("testbed", &arguments, false)?;
        match report["skipped"].is_null() {
            true => rows.push(row_of(&storm.join(" "), &report)?),
            false => eprintln!("bench report: {} can't be run here, and keeps its row", storm.join(" ")),
        }
    }
    Ok(rows)
}

/// The row of one storm's JSON.
pub(super) fn row_of(storm: &str, report: &Value) -> Result<Row, Failure> {
    let figures = &report["figures"];
    let stretch = |name: &str| number(&figures[name], "requests");
    let requests = stretch("before")? + stretch("during")? + stretch("after")?;
    let bar_of = |what: &str| {
        let bars = report["bars"].as_array().into_iter().flatten();
        bars.filter(|bar| bar["what"] == what).find_map(|bar| bar["bar"].as_str()).map(str::to_owned)
    };
    let with_bar = |figure: Option<String>, what: &str| match (figure, bar_of(what)) {
        (Some(figure), Some(bar)) => format!("{figure} ({bar})"),
        (figure, _) => figure.unwrap_or_default(),
    };
    let span = |figure: &str| {
        figures[figure].as_f64().map(|s| if s < 0.005 { "at once".to_owned() } else { format!("{s:.2} s") })
    };
    let share = bar_of("share of requests that failed").map(|bar| format!(" ({bar})")).unwrap_or_default();
    let failed = with_bar(Some(number(figures, "failed")?.to_string()), "failed requests") + &share;
    let cached = figures["cached_ratio"].as_f64().map(|ratio| format!("{ratio:.3}"));
    let missed: Vec<&str> = report["bars"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|bar| bar["met"] == false)
        .filter_map(|bar| bar["what"].as_str())
        .collect();
    let verdict = if missed.is_empty() { met(true) } else { format!("{}: {}", met(false), missed.join(", ")) };
    Ok(vec![
        format!("`{storm}`"),
        requests.to_string(),
        failed,
        with_bar(cached, "cached share, during / before"),
        with_bar(span("clean_s"), "until no replica counts a silent one's work"),
        with_bar(span("heal_s"), "until all replicas see each other again"),
        with_bar(Some(span("equal_s").unwrap_or("not".to_owned())), "until views are equal, after the last answer"),
        verdict,
    ])
}
