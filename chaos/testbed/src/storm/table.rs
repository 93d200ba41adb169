//! A storm's report as text: a pure function.
//!
//! Must not know terminals.

use std::fmt::Write as _;

use murmuration_actors::text_table::{self, left, right};

use super::figures::{Figures, Stretch};
use super::run::Observed;
use super::verdict::{Judged, told};

/// Rows of the table of figures: what, before, during, after.
pub(super) fn rows(figures: &Figures) -> Vec<[String; 4]> {
    let all = [&figures.before, &figures.during, &figures.after];
    let row =
        |what: &str, cell: &dyn Fn(&Stretch) -> String| [what.to_owned(), cell(all[0]), cell(all[1]), cell(all[2])];
    let mut rows = vec![
        row("requests", &|one| one.requests.to_string()),
        row("failed", &|one| one.failed.to_string()),
        row("first token p50, ms", &|one| told(one.first_token_p50_ms, 1)),
        row("first token p99, ms", &|one| told(one.first_token_p99_ms, 1)),
        row("cached share", &|one| told(one.cached_share, 4)),
    ];
    let [before, during, after] = figures.agreement.map(|one| told(one, 3));
    rows.push(["agreement".to_owned(), before, during, after]);
    for (lane, ages) in &figures.age_p99_s {
        let [before, during, after] = ages.map(|age| told(age.map(|s| s * 1e3), 0));
        rows.push([format!("age of facts by {lane} p99, ms, at most"), before, during, after]);
    }
    rows
}

/// The whole report.
pub(super) fn table(name: &str, figures: &Figures, judged: &[Judged], observed: &Observed) -> String {
    let mut text = format!("STORM {name}\n");
    for injection in &observed.injections {
        let (began, ended) = (injection.began.as_secs_f64(), injection.ended.as_secs_f64());
        let _ = writeln!(text, "  {began:6.2} s to {ended:6.2} s  {}", injection.fault);
    }
    for note in &observed.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    let columns = [left(""), right("before"), right("during"), right("after")];
    text.push('\n');
    for row in text_table::table(&columns, &rows(figures)).lines() {
        let _ = writeln!(text, "  {row}");
    }
    for (cause, count) in &figures.failures {
        let _ = writeln!(text, "\n  FAILED {count:5}  {cause}");
        let examples = observed.tally.examples.iter().find(|(one, _)| one.to_string() == *cause);
        for example in examples.into_iter().flat_map(|(_, all)| all) {
            let _ = writeln!(text, "    {example}");
        }
    }
    if figures.held > 0 {
        let _ = writeln!(text, "\n  {} of them were held by killed processes", figures.held);
    }
    text.push('\n');
    for one in judged {
        let sign = if one.met { "met   " } else { "MISSED" };
        let _ = writeln!(text, "  {sign} {:48} {:>9}   bar {}", one.what, one.measured, one.bar);
    }
    text
}
