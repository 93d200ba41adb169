//! `chaos check-determinism`: runs each plan twice, in two processes, and compares the output line by line. A
//! difference means that some randomness does not follow from the seed; a seed then no longer identifies a run.
//!
//! Must not know what a line means.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, ExitCode};

use super::args::CheckDeterminism;
use super::{Failure, subject};
use crate::checker::Verdict;
use crate::trial::Trials;

/// What two runs wrote.
#[derive(Debug, PartialEq, Eq)]
enum Twice {
    /// Equal, with this many lines.
    Alike(usize),
    /// This line differs, counted from 1; `None` if that run has already ended.
    Different { line: usize, first: Option<String>, second: Option<String> },
}

/// Compares the runs; exit code 127 if two runs differ.
pub(super) fn run(flags: &CheckDeterminism) -> Result<ExitCode, Failure> {
    let trials = Trials::new().map_err(Failure::Machine)?;
    for what in &flags.what {
        subject::plan(what)?;
        let start = || trials.command(what, &["--all"]).map_err(Failure::Machine);
        let (mut one, mut other) = (start()?, start()?);
        let twice = match (one.stdout.take(), other.stdout.take()) {
            (Some(first), Some(second)) => compare(lines(first), lines(second)),
            _ => return Err(Failure::Machine("a child has no output".to_owned())),
        };
        [one, other].iter_mut().for_each(end);
        match twice {
            Twice::Alike(lines) => println!("{what}: {lines} lines, equal in both runs"),
            Twice::Different { line, first, second } => {
                let shown = |line: Option<String>| line.unwrap_or_else(|| "(the run has ended)".to_owned());
                println!("{what}: line {line} differs\n  {}\n  {}", shown(first), shown(second));
                return Ok(Verdict::Crashed { why: String::new() }.exit());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(from: ChildStdout) -> impl Iterator<Item = String> {
    BufReader::new(from).lines().map_while(Result::ok)
}

/// Ends a child, which may have exited already.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn compare(mut one: impl Iterator<Item = String>, mut other: impl Iterator<Item = String>) -> Twice {
    let mut line = 0;
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Twice::Alike(line),
            (first, second) if first == second => line += 1,
            (first, second) => return Twice::Different { line: line + 1, first, second },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(one: &[&str], other: &[&str]) -> Twice {
        let lines = |of: &[&str]| of.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>().into_iter();
        compare(lines(one), lines(other))
    }

    #[test]
    fn the_first_difference_is_found_and_an_early_end_counts_as_one() {
        assert_eq!(compared(&["a", "b"], &["a", "b"]), Twice::Alike(2));
        let line = |text: &str| Some(text.to_owned());
        let differs = Twice::Different { line: 2, first: line("b"), second: line("c") };
        assert_eq!(compared(&["a", "b", "x"], &["a", "c", "y"]), differs);
        assert_eq!(compared(&["a"], &["a", "c"]), Twice::Different { line: 2, first: None, second: line("c") });
    }
}
