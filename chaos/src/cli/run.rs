//! `chaos run` and `chaos replay`: one plan in this process.
//!
//! Must not know promises.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use super::args::Run;
use super::{Failure, subject};
use crate::chronicle::Entry;
use crate::judge::Verdict;
use crate::plan::Plan;
use crate::report::{self, Volume};
use crate::trial::{Town, judged};

/// Lines of the score that are told of a failure.
const LAST_LINES: usize = 40;

/// Tells the verdict; of a failure the plan and the last lines too.
pub(super) fn run(flags: &Run, town: Town) -> Result<ExitCode, Failure> {
    let plan = subject::plan(&flags.what)?;
    if flags.all {
        return score(&plan, flags, town);
    }
    let mut last: VecDeque<String> = VecDeque::with_capacity(LAST_LINES);
    let summary = judged(&plan, town, &mut |entry| {
        if !flags.json && report::volume(&entry.fact) == Volume::Score {
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

/// Writes the whole score.
pub(super) fn replay(flags: &Run, town: Town) -> Result<ExitCode, Failure> {
    if flags.json {
        return run(flags, town);
    }
    score(&subject::plan(&flags.what)?, flags, town)
}

fn score(plan: &Plan, flags: &Run, town: Town) -> Result<ExitCode, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut unwritten = write!(out, "{}", report::prologue(plan)).err();
    let summary = judged(plan, town, &mut |entry: &Entry| {
        if flags.all || report::volume(&entry.fact) == Volume::Score {
            unwritten = unwritten.take().or_else(|| writeln!(out, "{}", report::line(entry, plan)).err());
        }
    });
    // Two runs of one seed write the same lines, so how long it took here is no part of them when all is written.
    if flags.all {
        let summary = crate::judge::Summary { wall_s: 0.0, ..summary.clone() };
        unwritten = unwritten.or_else(|| writeln!(out, "VERDICT   {}", summary.verdict.told()).err());
    } else {
        unwritten = unwritten.or_else(|| write!(out, "{}", report::epilogue(&summary, &flags.what)).err());
    }
    match unwritten.or_else(|| out.flush().err()) {
        Some(why) => Err(Failure::Machine(format!("can't write the score: {why}"))),
        None => Ok(summary.verdict.exit()),
    }
}
