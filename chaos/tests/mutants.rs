//! The deliberate bugs that the harness must catch still apply to the code as it is; `chaos/prove` builds and sweeps each.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::Command;

fn patches() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "patch")).collect()
}

#[test]
fn there_are_five_and_each_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let patches = patches();
    assert!(patches.len() >= 5, "{patches:?}");
    for patch in patches {
        let tried = Command::new("git").current_dir(root).args(["apply", "--check"]).arg(&patch).output().unwrap();
        let why = String::from_utf8_lossy(&tried.stderr);
        assert!(tried.status.success(), "{} does not apply; edit the patch with the code: {why}", patch.display());
    }
}
