//! The deliberate bugs that the harness must catch still apply to the code as it is, and for each it is written what catches it;
//! `chaos/prove` builds and runs each.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use murmuration_chaos::plan::Plan;
use murmuration_chaos::promises;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("mutants")
}

fn patches() -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "patch")).collect()
}

#[test]
fn there_are_eight_and_each_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let patches = patches();
    assert!(patches.len() >= 8, "{patches:?}");
    for patch in patches {
        let tried = Command::new("git").current_dir(root).args(["apply", "--check"]).arg(&patch).output().unwrap();
        let why = String::from_utf8_lossy(&tried.stderr);
        assert!(tried.status.success(), "{} does not apply; edit the patch with the code: {why}", patch.display());
    }
}

#[test]
fn of_each_it_is_written_what_catches_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let promises: Vec<&str> = promises::all(&Plan::from_seed(0)).iter().map(|promise| promise.name()).collect();
    let caught = std::fs::read_to_string(folder().join("caught.txt")).unwrap();
    let mut names = BTreeSet::new();
    for line in caught.lines().filter(|line| !line.starts_with('#')) {
        let [name, promise, what] = line.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{line}") };
        names.insert(name.to_owned());
        assert!(promises.contains(&promise), "{promise} is no promise");
        if what.parse::<u64>().is_err() {
            Plan::read(&std::fs::read_to_string(root.join(what)).unwrap(), what).unwrap();
        }
    }
    let patched = patches().iter().map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, patched);
}
