//! `tests/run` counts what passed, what failed, and what could not run here. Its steps are stubs, because only the
//! counting is tested.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A `cargo` whose steps all succeed. It has no subcommand `deny`, and its tests end with these closing lines.
const CARGO: &str = r#"#!/bin/sh
case "$1" in
  deny) exit 101 ;;
  test) echo "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out"
        echo "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out" ;;
esac
"#;

/// A machine on which nothing may be installed.
struct Machine {
    folder: PathBuf,
}

// === impl Machine ===

impl Machine {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("murmuration-landing-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::create_dir_all(folder.join("target/checked")).unwrap();
        let machine = Self { folder };
        for program in ["bash", "sh", "cat", "awk", "tee", "mktemp", "rm", "dirname", "git", "env", "timeout", "sleep"]
        {
            let there = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(program));
            symlink(there.iter().find(|path| path.exists()).unwrap(), machine.folder.join("bin").join(program))
                .unwrap();
        }
        machine.program("bin/id", "#!/bin/sh\necho 1000\n");
        machine.program("bin/cc", "#!/bin/sh\n");
        machine.program("bin/python3", "#!/bin/sh\n");
        machine.program("bin/cargo", CARGO);
        machine.program("target/checked/chaos", "#!/bin/sh\n");
        machine.program("target/checked/testbed", "#!/bin/sh\n");
        machine
    }

    /// Writes an executable program at `path`.
    fn program(&self, path: &str, text: &str) -> &Self {
        let path = self.folder.join(path);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs `tests/run`. Returns its exit code, its output, and the last line of it.
    fn run(&self, flags: &[&str]) -> (Option<i32>, String, String) {
        self.run_within("30m", flags)
    }

    /// The same with a limit for each step.
    fn run_within(&self, limit: &str, flags: &[&str]) -> (Option<i32>, String, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
        let mut command = Command::new(self.folder.join("bin/bash"));
        command.arg(script).args(flags).env("PATH", self.folder.join("bin"));
        command.env("STEP_LIMIT", limit);
        command.env("CARGO_TARGET_DIR", self.folder.join("target"));
        // There is no API server on this machine.
        let ended = command.env("KUBEBUILDER_ASSETS", self.folder.join("none")).output().unwrap();
        let output = [ended.stdout, ended.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let last = output.lines().last().unwrap_or_default().to_owned();
        (ended.status.code(), output, last)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A folder that stays behind does not change the result.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_step_that_cannot_run_here_is_skipped_and_is_no_failure() {
    let machine = Machine::new("skips");
    let storm = "#!/bin/sh\ncase \"$2\" in *lossy-links.yaml) echo no nft; exit 77 ;; esac\n";
    let (code, output, last) = machine.program("target/checked/testbed", storm).run(&[]);
    let storms = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos/plans")).unwrap();
    let storms = storms.filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    // Six tests; format, lints, documentation, programs, sweep, check-determinism, three checks; all storms but one.
    let passed = 6 + 9 + storms - 1;
    // Two ignored tests, the check of dependencies, the API server, one storm.
    assert_eq!((code, last.as_str()), (Some(0), format!("{passed} passed, 0 failed, 5 skipped").as_str()), "{output}");
    assert!(output.contains("SKIPPED: a storm on it: chaos/plans/lossy-links.yaml"), "{output}");
    assert!(output.contains("SKIPPED: three replicas on a real API server"), "{output}");
    assert!(output.contains("cure (some minutes): cargo install --locked cargo-deny"), "{output}");
    assert!(output.contains("nft is missing; storms of the network will be skipped"), "{output}");
}

#[test]
fn a_failure_is_counted_and_the_other_steps_still_run() {
    let machine = Machine::new("fails");
    machine.program("bin/cargo", &CARGO.replace("5 passed; 0 failed", "4 passed; 1 failed"));
    let (code, output, last) =
        machine.program("target/checked/chaos", "#!/bin/sh\necho seed 7 broke\nexit 3\n").run(&[]);
    assert_eq!(code, Some(1), "{output}");
    // Once where it happened, and once more at the end.
    assert!(output.contains("FAILED: the same storm twice\n    seed 7 broke\n"), "{output}");
    assert_eq!(output.matches("seed 7 broke").count(), 4, "{output}");
    assert!(last.contains(" passed, 3 failed, 4 skipped"), "{output}");
}

#[test]
fn a_program_that_every_step_needs_is_named_with_its_cure() {
    let machine = Machine::new("lacks");
    fs::remove_file(machine.folder.join("bin/cc")).unwrap();
    let (code, output, _) = machine.run(&["--quick"]);
    assert!(code == Some(2) && output.contains("apt-get install gcc libc6-dev"), "{code:?} {output}");
}

#[test]
fn as_root_it_installs_missing_programs_and_reports_it_once() {
    let machine = Machine::new("installs");
    let bin = machine.folder.join("bin");
    machine.program("bin/id", "#!/bin/sh\necho 0\n");
    let apt = format!(
        "#!/bin/sh\necho \"$*\" >>{0}/asked\n[ \"$1\" = update ] || for p in nft ip tc; do echo '#!/bin/sh' >{0}/$p; /bin/chmod +x {0}/$p; done\n",
        bin.display()
    );
    let (code, output, _) = machine.program("bin/apt-get", &apt).run(&[]);
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(output.matches("tests/run: installing iproute2 (apt-get)").count(), 1, "{output}");
    let asked = fs::read_to_string(bin.join("asked")).unwrap();
    assert_eq!(asked.lines().filter(|line| line.starts_with("update")).count(), 1, "{asked}");
    assert!(!output.contains("is missing"), "{output}");
}

#[test]
fn a_step_that_hangs_is_ended_and_has_failed() {
    let machine = Machine::new("hangs");
    let (code, output, last) =
        machine.program("target/checked/chaos", "#!/bin/sh\nsleep 600 & sleep 600\n").run_within("5s", &[]);
    assert_eq!(code, Some(1), "{output}");
    assert!(output.contains("FAILED: the same storm twice (ended: it took longer than 5s, or was killed)"), "{output}");
    assert!(last.contains(", 2 failed, "), "both steps of that program: {output}");
}
