//! `chaos shrink`: makes a failing plan smaller, with each trial in a process of its own.
//!
//! Must not know how a plan is made smaller.

use std::process::ExitCode;

use super::args::Shrink;
use super::{Failure, subject};
use crate::report;
use crate::shrink::shrink;
use crate::trial::Trials;

/// Writes the smaller plan; the exit code is that of its verdict.
pub(super) fn run(flags: &Shrink) -> Result<ExitCode, Failure> {
    let plan = subject::plan(&flags.what)?;
    let trials = Trials::new().map_err(Failure::Machine)?;
    let whole = trials.run_plan(&plan);
    let Some(kind) = whole.verdict.kind().map(str::to_owned) else {
        println!("{}: all invariants kept; there is nothing to shrink", flags.what);
        return Ok(ExitCode::SUCCESS);
    };
    println!("{}: {}", flags.what, whole.verdict.told());
    let mut last = whole.verdict.clone();
    let shrunk = shrink(&plan, flags.trials, |smaller| {
        let verdict = trials.run_plan(smaller).verdict;
        let same = verdict.kind() == Some(&kind);
        if same {
            println!(
                "  {} faults, {} replicas, {} engines: {}",
                smaller.faults.len(),
                smaller.cluster.replicas,
                smaller.cluster.engines,
                verdict.told()
            );
            last = verdict;
        }
        same
    });
    let json = serde_json::to_string_pretty(&shrunk.plan).map_err(|why| Failure::Machine(why.to_string()))?;
    let out = flags.out.display();
    std::fs::write(&flags.out, json + "\n").map_err(|why| Failure::Machine(format!("can't write {out}: {why}")))?;
    print!("{}", report::prologue(&shrunk.plan));
    let end = if shrunk.minimal { "nothing more can be removed" } else { "all trials are used" };
    println!("VERDICT   {}\nSHRUNK    {} trials; {end}; written to {out}", last.told(), shrunk.tried);
    println!("{}", report::reproduce(&out.to_string()));
    Ok(last.exit())
}
