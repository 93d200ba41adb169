//! What a figure was measured at: commit, date, machine.
//!
//! Must not know figures. No name of a host or a user is in it.

use std::fs;
use std::process::Command;

use super::super::Failure;

/// What all rows of one call share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provenance {
    /// The commit, with a remark where the tree had changes or the run was short.
    pub(super) commit: String,
    /// Date and machine.
    pub(super) run: String,
}

// === impl Provenance ===

impl Provenance {
    /// Of this checkout and this machine, now.
    ///
    /// # Errors
    /// One sentence, when `git` or `date` can't say.
    pub(super) fn here(short: bool) -> Result<Self, Failure> {
        let mut commit = output("git", &["rev-parse", "--short", "HEAD"])?;
        let changed = !output("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
        for remark in [changed.then_some(" with changes"), short.then_some(" in a short run")].into_iter().flatten() {
            commit.push_str(remark);
        }
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let date = output("date", &["-u", "+%F"])?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self { commit, run: format!("{date}: {}", machine(cores, &read("/proc/cpuinfo"), &read("/proc/meminfo"))) })
    }
}

/// Cores, the processor's name, and memory, as far as they are known.
fn machine(cores: usize, cpuinfo: &str, meminfo: &str) -> String {
    let plural = if cores == 1 { "core" } else { "cores" };
    let mut text = format!("{cores} {plural}");
    let value = |line: &str| line.split_once(':').map(|(_, value)| value.trim().to_owned());
    if let Some(name) = cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(value) {
        text.push_str(&format!(" of {name}"));
    }
    let memory = meminfo.lines().find(|line| line.starts_with("MemTotal")).and_then(value);
    let kb = memory.and_then(|memory| memory.split(' ').next().and_then(|kb| kb.parse::<f64>().ok()));
    if let Some(kb) = kb {
        text.push_str(&format!(", {:.0} GiB", kb / 1_048_576.0));
    }
    // A table's cells and a run's parts are cut at these.
    text.replace(['|', '\n'], " ")
}

fn output(program: &str, arguments: &[&str]) -> Result<String, Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|why| format!("{program} can't be run: {why}"))?;
    if !output.status.success() {
        return Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_told_as_far_as_it_is_known() {
        let (cpuinfo, meminfo) = ("processor: 0\nmodel name\t: A CPU | 2\n", "MemTotal:       24684084 kB\n");
        assert_eq!(machine(2, cpuinfo, meminfo), "2 cores of A CPU   2, 24 GiB");
        assert_eq!(machine(1, "", ""), "1 core");
    }
}
