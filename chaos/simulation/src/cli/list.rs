//! `chaos list`: invariants with their meanings, faults, scenarios and plans.

use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::Failure;
use super::args::List;
use crate::invariants::{self, About};
use crate::plan::{Fault, Plan};

/// The folders of scenarios and plans, from the root of the repository.
const PLANS: [(&str, &str); 2] = [("scenarios", "chaos/plans/scenarios"), ("plans", "chaos/plans")];

#[derive(Debug, Serialize)]
struct Listed {
    invariants: Vec<Row>,
    faults: &'static [&'static str],
    scenarios: Vec<String>,
    plans: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    kind: &'static str,
    meaning: &'static str,
}

/// Prints the lists.
pub(super) fn run(flags: &List) -> Result<ExitCode, Failure> {
    let [scenarios, plans] = PLANS.map(|(_, folder)| names(Path::new(folder)));
    let listed = Listed { invariants: rows(), faults: Fault::NAMES, scenarios, plans };
    if flags.json {
        let json = serde_json::to_string(&listed).map_err(|why| Failure::Machine(why.to_string()))?;
        println!("{json}");
        return Ok(ExitCode::SUCCESS);
    }
    for kind in ["safety", "recovery"] {
        println!("INVARIANTS {kind}");
        listed
            .invariants
            .iter()
            .filter(|row| row.kind == kind)
            .for_each(|row| println!("  {:<34} {}", row.name, row.meaning));
    }
    println!("FAULTS    {}", listed.faults.join(" "));
    println!("SCENARIOS {}\nPLANS     {}", listed.scenarios.join(" "), listed.plans.join(" "));
    Ok(ExitCode::SUCCESS)
}

fn rows() -> Vec<Row> {
    let row = |About { name, kind, meaning }| Row { name, kind: kind.as_str(), meaning };
    invariants::all(&Plan::from_seed(0)).iter().map(|invariant| row(invariant.about())).collect()
}

/// The names of the plans in `folder`, sorted; empty if the folder is missing.
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
    fn every_invariant_has_a_unique_name_and_a_meaning() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| row.meaning.len() > 20));
    }
}
