//! A bench's result: columns for people, one JSON object for machines, from the same figures.
//!
//! Must not know what the figures mean.

use std::fmt;

use murmuration_actors::text_table::{Column, right, table};
use serde_json::{Map, Value, json};

/// A cell.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    /// A word.
    Word(String),
    /// A whole number.
    Count(u64),
    /// A figure and how many decimals of it mean something.
    Figure(f64, usize),
    /// There is no such figure.
    Nothing,
}

/// The figures of one bench.
#[derive(Debug)]
pub(super) struct Table {
    bench: &'static str,
    about: Vec<(&'static str, Value)>,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

// === impl Table ===

impl Table {
    /// A table whose columns have these names; they are the keys of the JSON rows too, so their unit is in them.
    pub(super) fn new(bench: &'static str, columns: &[&'static str]) -> Self {
        Self { bench, about: Vec::new(), columns: columns.to_vec(), rows: Vec::new() }
    }

    /// A fact about the whole run.
    pub(super) fn about(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.about.push((key, value.into()));
        self
    }

    /// Adds a row, a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| -> Map<String, Value> {
            let keys = self.columns.iter().map(|column| (*column).to_owned());
            keys.zip(cells.iter().map(Cell::json)).collect()
        };
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        let about: Map<String, Value> =
            self.about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        json!({"bench": self.bench, "about": about, "rows": rows})
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<String>> =
            self.rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
        let columns: Vec<Column> = self.columns.iter().map(|column| right(*column)).collect();
        f.write_str(&table(&columns, &rows))?;
        writeln!(f, "{}", self.json())
    }
}

// === impl Cell ===

impl Cell {
    fn json(&self) -> Value {
        match self {
            Self::Nothing => Value::Null,
            Self::Word(word) => json!(word),
            Self::Count(count) => json!(count),
            // JSON has the rounded figure, so that both show the same.
            Self::Figure(..) => self.to_string().parse::<f64>().map_or(Value::Null, |figure| json!(figure)),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("-"),
            Self::Word(word) => f.write_str(word),
            Self::Count(count) => write!(f, "{count}"),
            Self::Figure(figure, decimals) => write!(f, "{figure:.decimals$}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_and_machines_see_the_same_figures() {
        let mut table = Table::new("b", &["server", "ms", "n"]).about("streams", 2);
        table.row(vec![Cell::Word("noop".into()), Cell::Figure(1.23456, 2), Cell::Count(12)]);
        table.row(vec![Cell::Word("ours".into()), Cell::Figure(10.0, 2), Cell::Nothing]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..3], ["server     ms   n", "  noop   1.23  12", "  ours  10.00   -"]);
        let rows = json!([{"server": "noop", "ms": 1.23, "n": 12}, {"server": "ours", "ms": 10.0, "n": null}]);
        let json: Value = serde_json::from_str(lines[3]).unwrap_or_default();
        assert_eq!(json, json!({"bench": "b", "about": {"streams": 2}, "rows": rows}));
    }
}
