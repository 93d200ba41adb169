//! The table of quality: figures of replayed traces, each with its bar.

use serde_json::Value;

use super::super::Failure;
use super::document::Row;
use super::json::{met, number};
use super::runs;

/// The table's name on the page.
pub(super) const TABLE: &str = "quality";

/// Measures all rows.
pub(super) fn rows(short: bool) -> Result<Vec<Row>, Failure> {
    let arguments: &[&str] = if short { &["figures", "--json", "--quick"] } else { &["figures", "--json"] };
    rows_of(&runs::beside("trace-replay", arguments, true)?)
}

/// The rows in the JSON of `trace-replay figures`.
pub(super) fn rows_of(report: &Value) -> Result<Vec<Row>, Failure> {
    let figures = report.as_array().ok_or("`trace-replay figures` is no array")?;
    figures.iter().map(row).collect()
}

fn row(figure: &Value) -> Result<Row, Failure> {
    let what = figure["what"].as_str().ok_or("a figure without `what`")?.to_owned();
    let values: Vec<f64> = figure["values"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
    let mean = number(figure, "mean")?;
    let (least, most) = (figure["bar"]["at_least"].as_f64(), figure["bar"]["at_most"].as_f64());
    let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (bar, worst, holds) = match (least, most) {
        (Some(least), _) => (format!("≥ {least}"), lowest, lowest >= least),
        (_, Some(most)) => (format!("≤ {most}"), highest, highest <= most),
        _ => ("none".to_owned(), lowest, true),
    };
    let worst = if holds { format!("{worst:.3}") } else { format!("**{worst:.3}**") };
    let met = figure["pass"].as_bool().map(met).unwrap_or_default();
    Ok(vec![what, bar, format!("{mean:.3}"), worst, met])
}
