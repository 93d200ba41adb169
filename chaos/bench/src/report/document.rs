//! BENCHMARKS.md as data: tables of rows, each with the commit that it was measured at, and the runs by commit.
//!
//! A table stands between two comments. First comes a line for each commit of its rows, with date and machine; then
//! the table itself, whose first cell names the row and whose last one is the commit. Texts between tables come from a
//! template.
//!
//! Must not know what the figures mean.

use std::collections::BTreeMap;

use super::super::Failure;
use super::machine::Provenance;

/// What ends a table.
const END: &str = "<!-- end of table -->";

/// The tables of the page, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Document(BTreeMap<String, Table>);

/// One table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Table {
    /// Date and machine by commit.
    runs: BTreeMap<String, String>,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// A row that was measured: its cells without the commit. The first one names it.
pub(super) type Row = Vec<String>;

// === impl Document ===

impl Document {
    /// The tables of a page.
    ///
    /// # Errors
    /// One sentence with the number of the line that can't be read.
    pub(super) fn read(page: &str) -> Result<Self, Failure> {
        let mut document = Self::default();
        let mut open: Option<(String, Table)> = None;
        for (number, line) in page.lines().enumerate() {
            let wrong = |what: &str| format!("line {}: {what}: {line:?}", number + 1);
            match (&mut open, name_in(line)) {
                (None, Some(name)) => open = Some((name.to_owned(), Table::default())),
                (Some(_), Some(_)) => return Err(wrong("a table begins before the last one ended")),
                (Some(_), None) if line == END => document.0.extend(open.take()),
                (Some((_, table)), None) => table.read(line).map_err(wrong)?,
                (None, None) => {}
            }
        }
        match open {
            Some((name, _)) => Err(format!("the table {name} does not end with {END}")),
            None => Ok(document),
        }
    }

    /// Puts measured rows into their table: each takes the place of the row with its name, new ones come last.
    ///
    /// # Errors
    /// One sentence, when the page has no such table or a row does not fit into it.
    pub(super) fn renew(&mut self, table: &str, rows: Vec<Row>, measured: &Provenance) -> Result<(), Failure> {
        let table = self.0.get_mut(table).ok_or_else(|| format!("the page has no table {table}"))?;
        for mut row in rows {
            row.push(measured.commit.clone());
            if row.len() != table.head.len() {
                return Err(format!("a row of {} cells, and the table has {}", row.len(), table.head.len()));
            }
            match table.rows.iter_mut().find(|known| known[0] == row[0]) {
                Some(known) => *known = row,
                None => table.rows.push(row),
            }
        }
        table.runs.insert(measured.commit.clone(), measured.run.clone());
        table.runs.retain(|commit, _| table.rows.iter().any(|row| row.last() == Some(commit)));
        Ok(())
    }

    /// The page: `template` with each table in its place.
    ///
    /// # Errors
    /// One sentence, when a table of the template is not in the page that was read.
    pub(super) fn written(&self, template: &str) -> Result<String, Failure> {
        let mut page = String::new();
        for line in template.lines() {
            page.push_str(line);
            page.push('\n');
            if let Some(name) = name_in(line) {
                let table = self.0.get(name).ok_or_else(|| format!("the page has no table {name}"))?;
                page.push_str(&format!("{}{END}\n", table.written()));
            }
        }
        Ok(page)
    }
}

/// The name in `<!-- table NAME -->`.
fn name_in(line: &str) -> Option<&str> {
    line.strip_prefix("<!-- table ")?.strip_suffix(" -->")
}

// === impl Table ===

impl Table {
    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        if let Some(run) = line.strip_prefix("- commit ") {
            let (commit, run) = run.split_once(", ").ok_or("a run is `- commit COMMIT, DATE: MACHINE`")?;
            self.runs.insert(commit.to_owned(), run.to_owned());
        } else if let Some(cells) = line.strip_prefix("| ").and_then(|line| line.strip_suffix('|')) {
            let row: Vec<String> = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
            if self.head.is_empty() {
                self.head = row;
            } else if row.len() == self.head.len() {
                self.rows.push(row);
            } else {
                return Err("a row has as many cells as the head of its table");
            }
        } else if !line.is_empty() && !line.starts_with("|---") {
            return Err("this is neither a run nor a row of a table");
        }
        Ok(())
    }

    fn written(&self) -> String {
        let cell = |cell: &String| if cell.is_empty() { " ".to_owned() } else { format!(" {cell} ") };
        let line = |cells: &Vec<String>| format!("|{}|\n", cells.iter().map(cell).collect::<Vec<_>>().join("|"));
        let runs = self.runs.iter().map(|(commit, run)| format!("- commit {commit}, {run}\n"));
        let rule = format!("|{}\n", "---|".repeat(self.head.len()));
        let head = ["\n".to_owned(), line(&self.head), rule];
        runs.chain(head).chain(self.rows.iter().map(line)).collect()
    }
}
