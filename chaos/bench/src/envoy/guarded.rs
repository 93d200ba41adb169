//! Finds the process behind a guard: a testbed starts Envoy under a shell, whose processor time is not Envoy's.
//!
//! Must not know which program is guarded.

use std::fs;
use std::path::{Path, PathBuf};

use murmuration_kit::machine::parent_of;

use crate::Failure;

/// The child of `guard` that is another program than the guard itself.
pub(super) fn behind(guard: u32) -> Result<u32, Failure> {
    let entries = fs::read_dir("/proc").map_err(|why| format!("can't read /proc: {why}"))?;
    let guards_own = program(guard);
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut children = pids.filter(|pid| parent_of(*pid) == Some(guard));
    let found = children.find(|child| program(*child).is_some_and(|own| Some(own) != guards_own));
    found.ok_or_else(|| format!("process {guard} guards nothing; did Envoy end?"))
}

fn program(pid: u32) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid.to_string()).join("exe")).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_guarded_program_is_distinguished_from_the_guard_and_its_helpers() {
        let mut guard = Command::new("sh");
        // `cat` ends with its input, and the rest ends with `cat`; the helper is a shell like the guard.
        guard.args(["-c", "exec 3<&0; cat <&3 & (read -r _ <&3) & wait"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut guard = guard.spawn().unwrap();
        let found = (0..2_000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            behind(guard.id()).ok()
        });
        let name = found.and_then(program).unwrap();
        drop(guard.stdin.take());
        guard.wait().unwrap();
        assert_ne!(Some(name), fs::canonicalize("/bin/sh").ok());
        assert!(behind(guard.id()).is_err());
    }
}
