//! Runs a bench as a child process and reads the JSON that is its last line.
//!
//! Must not know which benches there are.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::super::Failure;

/// The JSON of `bench ARGUMENTS`.
pub(super) fn bench(arguments: &[&str]) -> Result<Value, Failure> {
    json(&itself()?, arguments, true)
}

/// The JSON of another program of the workspace, which was built beside this one. It may end with a failure where
/// `strict` is off: then it judges itself.
pub(super) fn beside(program: &str, arguments: &[&str], strict: bool) -> Result<Value, Failure> {
    let path = itself()?.with_file_name(program);
    if !path.is_file() {
        let cure = format!("build it with the profile of this program: cargo build --release --bin {program}");
        return Err(format!("{program} is not beside this program; {cure}"));
    }
    json(&path, arguments, strict)
}

fn itself() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|why| format!("this program can't be found: {why}"))
}

fn json(program: &PathBuf, arguments: &[&str], strict: bool) -> Result<Value, Failure> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let called = format!("{name} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.map_err(|why| format!("{called}: can't be run: {why}"))?;
    if strict && !output.status.success() {
        return Err(format!("{called}: ended with {}", output.status));
    }
    last_line(&String::from_utf8_lossy(&output.stdout)).map_err(|why| format!("{called}: {why}"))
}

/// The JSON in the last line of a bench's output.
pub(super) fn last_line(output: &str) -> Result<Value, Failure> {
    let last = output.lines().rev().find(|line| !line.trim().is_empty()).ok_or("it printed nothing")?;
    serde_json::from_str(last).map_err(|why| format!("its last line is no JSON: {why}"))
}
