//! Checks that every seeded bug still applies to the code, and that `caught.txt` names what catches it.
//! `chaos/mutation-check` builds and runs each of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use murmuration_simulation::invariants;
use murmuration_simulation::plan::Plan;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../seeded-bugs")
}

fn patches() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "patch")).collect()
}

#[test]
fn there_are_at_least_eight_and_each_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let patches = patches();
    assert!(patches.len() >= 8, "{patches:?}");
    for patch in patches {
        let applied = Command::new("git").current_dir(&root).args(["apply", "--check"]).arg(&patch).output().unwrap();
        let why = String::from_utf8_lossy(&applied.stderr);
        assert!(applied.status.success(), "{} does not apply; edit the patch with the code: {why}", patch.display());
    }
}

#[test]
fn for_each_it_is_listed_what_catches_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let invariants: Vec<&str> =
        invariants::all(&Plan::from_seed(0)).iter().map(|invariant| invariant.about().name).collect();
    let caught = std::fs::read_to_string(folder().join("caught.txt")).unwrap();
    let mut names = BTreeSet::new();
    for line in caught.lines().filter(|line| !line.starts_with('#')) {
        let [name, invariant, what] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        names.insert(name.to_owned());
        assert!(invariants.contains(&invariant), "there is no invariant {invariant}");
        if what.parse::<u64>().is_err() {
            Plan::read(&std::fs::read_to_string(root.join(what)).unwrap(), what).unwrap();
        }
    }
    let patched = patches().iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, patched);
}
