//! Which program the town's engines and replicas are: this very one, with another verb.
//!
//! Must not know what the verbs do. `town` and `chaos` have them. A program that uses the town as a library (benches, tests) has no
//! such verbs; its neighbour `town`, built beside it, has.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::TownError;

/// What the program is called.
const NAME: &str = "town";

/// The program to start: the one that was asked for, or ours, or our neighbour.
pub(super) fn program(asked: Option<&Path>) -> Result<PathBuf, TownError> {
    if let Some(asked) = asked {
        return asked.canonicalize().map_err(TownError::file(format!("find --program {}", asked.display())));
    }
    let own = std::env::current_exe().map_err(TownError::file("find this program's own file"))?;
    if has_verbs(&own) {
        return Ok(own);
    }
    let neighbour = own.with_file_name(NAME).with_extension(std::env::consts::EXE_EXTENSION);
    let cure = "find the program `town`; build it first (cargo build --bin town), in the same profile: ";
    neighbour.canonicalize().map_err(TownError::file(format!("{cure}{}", neighbour.display())))
}

/// `program` with a verb and no flags yet, in a network namespace if there is one.
pub(super) fn command(program: &Path, verb: &str, space: Option<&str>) -> Command {
    let mut command = match space {
        // It becomes the program, so its process id and its signals are the program's.
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
    program.file_stem().is_some_and(|stem| stem == NAME || stem == "chaos")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_asked_for_must_be_there() {
        let own = std::env::current_exe().unwrap();
        assert_eq!(program(Some(&own)).unwrap(), own.canonicalize().unwrap());
        assert!(program(Some(Path::new("no/such/town"))).unwrap_err().to_string().contains("--program no/such/town"));
    }

    #[test]
    fn only_the_town_itself_and_chaos_have_the_verbs() {
        assert!(has_verbs(Path::new("target/release/town")) && has_verbs(Path::new("target/release/chaos")));
        assert!(!has_verbs(Path::new("target/release/deps/town-0f3a")) && !has_verbs(Path::new("town/bench")));
    }
}
