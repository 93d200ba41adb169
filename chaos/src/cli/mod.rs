//! The program `chaos`: storms on a simulated town, judged. Ends with 0 when all promises were kept, 127 after a crash, 128 when
//! something did not heal, 129 when something was wrong, and 64 when asked wrongly.
//!
//! Must not know how a town is simulated: that is given to it.

mod args;
mod list;
mod meta;
mod run;
mod shrink;
mod subject;
mod sweep;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::trial::Town;
use crate::{engine, storm, town};
use args::{Command, Verb};

/// `EX_USAGE`, as `murmuration` has it.
const USAGE: u8 = 64;

/// Why a command could not be done at all.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It was asked wrongly.
    #[error("{0}")]
    Usage(String),
    /// The machine did not let it.
    #[error("{0}")]
    Machine(String),
}

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>, simulated: Town) -> ExitCode {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are errors to clap; they print to standard output and are none to us.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match command.verb {
        Verb::Run(flags) => run::run(&flags, simulated),
        Verb::Replay(flags) => run::replay(&flags, simulated),
        Verb::Sweep(flags) => sweep::run(&flags),
        Verb::Shrink(flags) => shrink::run(&flags),
        Verb::Meta(flags) => meta::run(&flags),
        Verb::List(flags) => list::run(&flags),
        Verb::Storm(flags) => Ok(storm::command(&flags)),
        Verb::Engine(flags) => Ok(engine::cli::run(*flags)),
        Verb::Serve(rest) => Ok(town::cli::murmuration("serve", rest.arguments)),
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
    fn what_is_asked_wrongly_ends_with_64() {
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
            for flags in [&["run"][..], &["run", "--json"], &["run", "--all"], &["replay"]] {
                let arguments = [flags, &[path.to_str().unwrap()]].concat();
                assert_eq!(ended(&arguments), ExitCode::from(code), "{arguments:?}");
            }
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_there_is_can_be_listed() {
        assert_eq!(ended(&["list"]), ExitCode::SUCCESS);
        assert_eq!(ended(&["list", "--json"]), ExitCode::SUCCESS);
    }
}
