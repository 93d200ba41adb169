//! The table of the default configuration against others: one row for each traffic and load.

use serde_json::Value;

use super::super::Failure;
use super::document::Row;
use super::json::met;
use super::runs;

/// The table's name on the page.
pub(super) const TABLE: &str = "price";

/// The figures of a row, in the order of the table's columns.
const FIGURES: [&str; 7] = [
    "mean TTFT / llm-d's default",
    "TTFT p99 / tuned by hand",
    "time to the last token / the better of both",
    "goodput / the better of both",
    "mean TTFT / one picker that knows all",
    "mean TTFT / without any queue",
    "mean TTFT / one queue before all engines",
];

/// Measures all rows.
pub(super) fn rows(short: bool) -> Result<Vec<Row>, Failure> {
    let arguments: &[&str] = if short { &["price", "--json", "--quick"] } else { &["price", "--json"] };
    rows_of(&runs::beside("trace-replay", arguments, true)?)
}

/// The rows in the JSON of `trace-replay price`. A figure that is named `head: what` is a cell of the row `head`.
pub(super) fn rows_of(report: &Value) -> Result<Vec<Row>, Failure> {
    let figures = report.as_array().ok_or("`trace-replay price` is no array")?;
    let mut rows: Vec<(String, [String; FIGURES.len()], bool)> = Vec::new();
    for figure in figures {
        let name = figure["what"].as_str().ok_or("a figure without `what`")?;
        let (head, what) = name.rsplit_once(": ").ok_or_else(|| format!("{name:?} has no `: `"))?;
        if rows.last().is_none_or(|(last, ..)| last != head) {
            rows.push((head.to_owned(), Default::default(), true));
        }
        let Some((_, cells, all_met)) = rows.last_mut() else { continue };
        let at = FIGURES.iter().position(|known| *known == what);
        let cell = cells.get_mut(at.ok_or_else(|| format!("{what:?} has no column"))?).ok_or("no such column")?;
        *cell = cell_of(figure);
        *all_met &= figure["pass"].as_bool() != Some(false);
    }
    let row = |(head, cells, all_met): (String, [String; FIGURES.len()], bool)| {
        [head].into_iter().chain(cells).chain([met(all_met)]).collect()
    };
    Ok(rows.into_iter().map(row).collect())
}

/// The mean, in bold where its bar is missed, and the bar.
fn cell_of(figure: &Value) -> String {
    let mean = format!("{:.2}", figure["mean"].as_f64().unwrap_or(f64::NAN));
    let mean = if figure["pass"].as_bool() == Some(false) { format!("**{mean}**") } else { mean };
    match (figure["bar"]["at_least"].as_f64(), figure["bar"]["at_most"].as_f64()) {
        (Some(least), _) => format!("{mean} (≥ {least})"),
        (_, Some(most)) => format!("{mean} (≤ {most})"),
        _ => mean,
    }
}
