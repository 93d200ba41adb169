//! The program `chaos`: storms on a simulated cluster, checked. Exit codes: 0 all invariants held, 127 crash, 128 a
//! recovery invariant was broken, 129 a safety invariant was broken, 64 wrong usage.
//!
//! Must not know how a cluster is simulated: the caller passes that in.

mod args;
mod check_determinism;
mod list;
mod run;
mod shrink;
mod subject;
mod sweep;

use std::ffi::OsString;
use std::process::ExitCode;

use murmuration_kit::cli::{USAGE, parse};

use crate::trial::Simulate;
use args::{Command, Verb};

/// Why a command could not be run.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Wrong usage.
    #[error("{0}")]
    Usage(String),
    /// The machine failed: a file, a process or the output.
    #[error("{0}")]
    Machine(String),
}

/// Runs the program with these arguments; the first is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>, simulate: Simulate) -> ExitCode {
    let command = match parse::<Command>(arguments) {
        Ok(command) => command,
        Err(code) => return code,
    };
    let done = match command.verb {
        Verb::Run(flags) => run::run(&flags, simulate),
        Verb::Trace(flags) => run::trace(&flags, simulate),
        Verb::Sweep(flags) => sweep::run(&flags),
        Verb::Shrink(flags) => shrink::run(&flags),
        Verb::CheckDeterminism(flags) => check_determinism::run(&flags),
        Verb::List(flags) => list::run(&flags),
    };
    done.unwrap_or_else(|failure| {
        eprintln!("chaos: {failure}");
        match failure {
            Failure::Usage(_) => ExitCode::from(USAGE),
            Failure::Machine(_) => ExitCode::FAILURE,
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::trial::testing::play;

    fn ended(arguments: &[&str]) -> ExitCode {
        run(["chaos"].iter().chain(arguments).map(OsString::from), play)
    }

    #[test]
    fn wrong_usage_ends_with_64() {
        let wrong: [&[&str]; 5] = [&[], &["walk"], &["run"], &["run", "nowhere.yaml"], &["sweep", "--minutes", "-1"]];
        for arguments in wrong {
            assert_eq!(ended(arguments), ExitCode::from(64), "{arguments:?}");
        }
        assert_eq!(ended(&["--help"]), ExitCode::SUCCESS);
    }

    #[test]
    fn a_run_ends_with_the_code_of_its_verdict() {
        for (name, code) in [("well", 0), ("breaks", 129), ("panics", 127)] {
            let path = std::env::temp_dir().join(format!("chaos-cli-{}-{name}.json", std::process::id()));
            let plan = Plan { name: name.to_owned(), ..Plan::from_seed(3) };
            std::fs::write(&path, serde_json::to_string(&plan).unwrap()).unwrap();
            for flags in [&["run"][..], &["run", "--json"], &["run", "--all"], &["trace"]] {
                let arguments = [flags, &[path.to_str().unwrap()]].concat();
                assert_eq!(ended(&arguments), ExitCode::from(code), "{arguments:?}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn the_lists_can_be_printed() {
        assert_eq!(ended(&["list"]), ExitCode::SUCCESS);
        assert_eq!(ended(&["list", "--json"]), ExitCode::SUCCESS);
    }
}
