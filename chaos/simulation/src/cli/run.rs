//! `chaos run` and `chaos trace`: one plan in this process.
//!
//! Must not know invariants.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use super::args::Run;
use super::{Failure, subject};
use crate::checker::Verdict;
use crate::history::Entry;
use crate::plan::Plan;
use crate::report::{self, Volume};
use crate::trial::{Simulate, check};

/// Lines of the trace that are printed after a failure.
const LAST_LINES: usize = 40;

/// Prints the verdict; after a failure also the plan and the last lines of the trace.
pub(super) fn run(flags: &Run, simulate: Simulate) -> Result<ExitCode, Failure> {
    let plan = subject::plan(&flags.what)?;
    if flags.all {
        return write_trace(&plan, flags, simulate);
    }
    let mut last: VecDeque<String> = VecDeque::with_capacity(LAST_LINES);
    let summary = check(&plan, simulate, &mut |entry| {
        if !flags.json && report::volume(&entry.fact) == Volume::Trace {
            if last.len() == LAST_LINES {
                last.pop_front();
            }
            last.push_back(report::line(entry, &plan));
        }
    });
    if flags.json {
        let json = serde_json::to_string(&summary).map_err(|why| Failure::Machine(why.to_string()))?;
        println!("{json}");
        return Ok(summary.verdict.exit());
    }
    if summary.verdict != Verdict::Kept {
        print!("{}", report::prologue(&plan));
        last.iter().for_each(|line| println!("{line}"));
    }
    print!("{}", report::epilogue(&summary, &flags.what));
    Ok(summary.verdict.exit())
}

/// Prints the whole trace.
pub(super) fn trace(flags: &Run, simulate: Simulate) -> Result<ExitCode, Failure> {
    if flags.json {
        return run(flags, simulate);
    }
    write_trace(&subject::plan(&flags.what)?, flags, simulate)
}

fn write_trace(plan: &Plan, flags: &Run, simulate: Simulate) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut unwritten = write!(out, "{}", report::prologue(plan)).err();
    let summary = check(plan, simulate, &mut |entry: &Entry| {
        if flags.all || report::volume(&entry.fact) == Volume::Trace {
            unwritten = unwritten.take().or_else(|| writeln!(out, "{}", report::line(entry, plan)).err());
        }
    });
    // With `--all`, two runs of one seed must print the same lines, so the real time that it took is left out.
    if flags.all {
        let summary = crate::checker::Summary { wall_s: 0.0, ..summary.clone() };
        unwritten = unwritten.or_else(|| writeln!(out, "VERDICT   {}", summary.verdict.told()).err());
    } else {
        unwritten = unwritten.or_else(|| write!(out, "{}", report::epilogue(&summary, &flags.what)).err());
    }
    match unwritten.or_else(|| out.flush().err()) {
        Some(why) => Err(Failure::Machine(format!("can't write the trace: {why}"))),
        None => Ok(summary.verdict.exit()),
    }
}
