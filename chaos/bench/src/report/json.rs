//! Reads a bench's JSON: rows by the values of their columns, and figures by name.
//!
//! Must not know which bench it is.

use serde_json::Value;

use super::super::Failure;

/// The rows of a bench.
pub(super) fn rows(report: &Value) -> Result<&Vec<Value>, Failure> {
    report["rows"].as_array().ok_or_else(|| "the JSON has no `rows`".to_owned())
}

/// The first row with these values.
pub(super) fn row<'v>(report: &'v Value, values: &[(&str, Value)]) -> Result<&'v Value, Failure> {
    let fits = |row: &&Value| values.iter().all(|(column, value)| row[*column] == *value);
    let wanted = || values.iter().map(|(column, value)| format!("{column}={value}")).collect::<Vec<_>>().join(" ");
    rows(report)?.iter().find(fits).ok_or_else(|| format!("the JSON has no row with {}", wanted()))
}

/// A figure of a row.
pub(super) fn number(row: &Value, column: &str) -> Result<f64, Failure> {
    row[column].as_f64().ok_or_else(|| format!("`{column}` is no number in {row}"))
}

/// A whole number with commas between thousands.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Whether a bar is met, as the page has it.
pub(super) fn met(met: bool) -> String {
    if met { "yes" } else { "**no**" }.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0.0, 999.0, 1_000.0, 2_933_123.0].map(thousands), ["0", "999", "1,000", "2,933,123"]);
    }
}
