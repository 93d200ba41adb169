//! `chaos list`: promises with their meanings, faults, stories and plans.
//!
//! Must not know how any of them works.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::Failure;
use super::args::List;
use crate::plan::{Fault, Plan};
use crate::promises::{self, Kind};

/// Where plans and stories are, from the root of the repository.
const PLANS: [(&str, &str); 2] = [("stories", "chaos/plans/stories"), ("plans", "chaos/plans")];

#[derive(Debug, Serialize)]
struct Listed {
    promises: Vec<Row>,
    faults: &'static [&'static str],
    stories: Vec<String>,
    plans: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    kind: &'static str,
    meaning: &'static str,
}

/// Prints what there is.
pub(super) fn run(flags: &List) -> Result<ExitCode, Failure> {
    let [stories, plans] = PLANS.map(|(_, folder)| names(Path::new(folder)));
    let listed = Listed { promises: rows(), faults: Fault::NAMES, stories, plans };
    if flags.json {
        let json = serde_json::to_string(&listed).map_err(|why| Failure::Machine(why.to_string()))?;
        println!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    for kind in ["safety", "healing"] {
        println!("PROMISES  {kind}");
        listed
            .promises
            .iter()
            .filter(|row| row.kind == kind)
            .for_each(|row| println!("  {:<34} {}", row.name, row.meaning));
    }
    println!("FAULTS    {}", listed.faults.join(" "));
    println!("STORIES   {}\nPLANS     {}", listed.stories.join(" "), listed.plans.join(" "));
    Ok(ExitCode::SUCCESS)
}

fn rows() -> Vec<Row> {
    let kind = |kind| if kind == Kind::Safety { "safety" } else { "healing" };
    let promises = promises::all(&Plan::from_seed(0));
    promises.iter().map(|p| Row { name: p.name(), kind: kind(p.kind()), meaning: p.meaning() }).collect()
}

/// The plans in `folder`, by name; none where it is absent.
fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let plans = files.filter(|path| path.extension().is_some_and(|kind| kind == "yaml" || kind == "json"));
    let mut names: Vec<String> = plans.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_promise_has_a_name_of_its_own_and_a_meaning() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| row.meaning.len() > 20));
    }
}
