//! The program that runs as engines and replicas: this one, with another subcommand.
//!
//! Must not know what the subcommands do. A program that uses the testbed as a library (benches, tests) does not have
//! them; then the program `testbed` in the same folder is used.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::TestbedError;

/// The program's name.
const NAME: &str = "testbed";

/// The program to start: `asked`, or this program if it has the subcommands, or `testbed` in the same folder.
pub(super) fn program(asked: Option<&Path>) -> Result<PathBuf, TestbedError> {
    if let Some(asked) = asked {
        return asked.canonicalize().map_err(TestbedError::file(format!("find --program {}", asked.display())));
    }
    let own = std::env::current_exe().map_err(TestbedError::file("find this program's own file"))?;
    if has_verbs(&own) {
        return Ok(own);
    }
    let neighbour = own.with_file_name(NAME).with_extension(std::env::consts::EXE_EXTENSION);
    let cure = "find the program `testbed`; build it first (cargo build --bin testbed), in the same profile: ";
    neighbour.canonicalize().map_err(TestbedError::file(format!("{cure}{}", neighbour.display())))
}

/// `program` with a subcommand and no flags yet, in the network namespace `space` if there is one.
pub(super) fn command(program: &Path, verb: &str, space: Option<&str>) -> Command {
    let mut command = match space {
        // `ip netns exec` replaces itself with the program, so process id and signals are the program's.
        Some(space) => {
            let mut inside = Command::new("ip");
            inside.args(["netns", "exec", space]).arg(program);
            inside
        }
        None => Command::new(program),
    };
    command.arg(verb);
    command
}

fn has_verbs(program: &Path) -> bool {
    program.file_stem().is_some_and(|stem| stem == NAME)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_asked_for_must_be_there() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(program(Some(&own)).unwrap(), own.canonicalize().unwrap());
        assert!(
            program(Some(Path::new("no/such/testbed"))).unwrap_err().to_string().contains("--program no/such/testbed")
        );
    }

    #[test]
    fn only_testbed_has_the_verbs() {
        assert!(has_verbs(Path::new("target/release/testbed")) && !has_verbs(Path::new("target/release/chaos")));
        assert!(!has_verbs(Path::new("target/release/deps/testbed-0f3a")) && !has_verbs(Path::new("testbed/bench")));
    }
}
