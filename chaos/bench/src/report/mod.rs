//! `bench report`: runs the benches whose figures BENCHMARKS.md shows, and writes that page from their JSON.
//!
//! Each bench is a child process, as a person would run it. Rows that are not renewed stay as the page has them, with
//! the commit and the machine that they were measured on.
//!
//! Must not know how anything is measured.

mod document;
mod json;
mod machine;
mod price;
mod quality;
mod replica;
mod replication;
mod runs;
mod storms;

use std::fs;

use super::Failure;
use super::args::ReportArgs;
use document::{Document, Row};
use machine::Provenance;

/// The texts of the page, with a place for each table.
const TEMPLATE: &str = include_str!("template.md");

/// A bench of the page: what `--only` calls it, the table that it fills, and how.
struct Unit {
    name: &'static str,
    table: &'static str,
    rows: fn(bool) -> Result<Vec<Row>, Failure>,
}

/// Every bench of the page, in its order.
fn units() -> Vec<Unit> {
    let mut units = vec![
        Unit { name: "quality", table: quality::TABLE, rows: quality::rows },
        Unit { name: "price", table: price::TABLE, rows: price::rows },
        Unit { name: "replication", table: replication::TABLE, rows: replication::rows },
    ];
    units.extend(replica::UNITS.map(|(name, rows)| Unit { name, table: replica::TABLE, rows }));
    units.push(Unit { name: "storms", table: storms::TABLE, rows: storms::rows });
    units
}

/// Renews the page; returns what was done, for people.
pub(super) fn run(args: &ReportArgs) -> Result<String, Failure> {
    let units = units();
    let known: Vec<&str> = units.iter().map(|unit| unit.name).collect();
    if let Some(wrong) = args.only.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("--only {wrong}: no such bench; there are {}", known.join(", ")));
    }
    let file = &args.file;
    let page = fs::read_to_string(file).map_err(|why| format!("can't read {}: {why}", file.display()))?;
    let mut document = Document::read(&page).map_err(|why| format!("{}: {why}", file.display()))?;
    let provenance = Provenance::here(args.short)?;
    let mut renewed = Vec::new();
    for unit in units.iter().filter(|unit| args.only.is_empty() || args.only.iter().any(|name| name == unit.name)) {
        eprintln!("bench report: {}", unit.name);
        let rows = (unit.rows)(args.short).map_err(|why| format!("{}: {why}", unit.name))?;
        document.renew(unit.table, rows, &provenance)?;
        // Written after each bench, so that a later one that fails costs nothing.
        let page = document.written(TEMPLATE)?;
        fs::write(file, page).map_err(|why| format!("can't write {}: {why}", file.display()))?;
        renewed.push(unit.name);
    }
    Ok(format!("{}: {} measured at {}\n", file.display(), renewed.join(", "), provenance.commit))
}

#[cfg(test)]
mod tests;
