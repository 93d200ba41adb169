//! The sample configurations load, and broken configurations give errors that name a cure.
//!
//! `tests/golden/config` has the broken ones and their errors. A text that changed is written beside the golden one as
//! `.txt.new`. Read it, and rename it over the golden one if it is right.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/golden.rs"]
mod golden;

use std::fs;
use std::path::{Path, PathBuf};

use murmuration::config::error::ErrorCause;
use murmuration::config::{self, Blueprint, Catalog, ConfigErrors, endpoints_file};

use crate::golden::{folder, llm_d_samples};

/// The files of `folder` with this extension, in order.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("can't read {}: {why}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    files
}

fn name(file: &Path) -> String {
    file.file_name().unwrap().to_string_lossy().into_owned()
}

fn read(file: &Path) -> Result<Blueprint, ConfigErrors> {
    config::read(&fs::read_to_string(file).unwrap(), &name(file), &Catalog::builtin())
}

#[test]
fn every_sample_loads_and_its_effective_form_reads_back_to_itself() {
    let samples = files(&folder("deploy/config"), "yaml");
    let samples: Vec<_> = samples.iter().filter(|file| name(file) != "endpoints.yaml").collect();
    assert!(samples.len() >= 5, "{samples:?}");
    for file in samples {
        let blueprint = read(file).unwrap_or_else(|errors| panic!("{errors}"));
        let again = config::read(&blueprint.effective, "effective", &Catalog::builtin());
        let again = again.unwrap_or_else(|errors| panic!("{}: {errors}", file.display()));
        assert_eq!(again.effective, blueprint.effective, "{}", file.display());
    }
}

#[test]
fn every_sample_is_listed_in_the_readme() {
    let readme = fs::read_to_string(folder("deploy/config/README.md")).unwrap();
    for file in files(&folder("deploy/config"), "yaml") {
        assert!(readme.contains(&format!("| `{}` |", name(&file))), "{}", file.display());
    }
}

#[test]
fn the_default_sample_equals_the_built_in_default() {
    let sample = read(&folder("deploy/config/default.yaml")).unwrap();
    let default = config::read(config::default_text(), "default", &Catalog::builtin()).unwrap();
    assert_eq!(sample.effective, default.effective);
}

#[test]
fn the_sample_of_file_discovery_reads_the_sample_of_an_endpoints_file() {
    let discovery = read(&folder("deploy/config/file-discovery.yaml")).unwrap().discovery.unwrap();
    let text = fs::read_to_string(folder(&discovery.path)).unwrap();
    let file = endpoints_file::read(&text, &discovery.path).unwrap_or_else(|errors| panic!("{errors}"));
    let hosts: Vec<(&str, u16)> = file.endpoints.iter().map(|entry| (entry.host.as_str(), entry.port)).collect();
    assert_eq!(hosts, [("127.0.0.1", 8000), ("::1", 8001), ("localhost", 30000)]);
    assert_eq!(file.objectives["batch"], -1);
    assert!(discovery.watch);
}

#[test]
fn a_broken_configuration_gives_all_its_errors() {
    let broken = files(&folder("tests/golden/config"), "yaml");
    assert!(broken.len() >= 10, "{broken:?}");
    golden::compare(broken.into_iter().map(|file| match read(&file) {
        Err(errors) => (file.with_extension("txt"), format!("{errors}\n")),
        Ok(blueprint) => panic!("{} loads, as\n{}", file.display(), blueprint.effective),
    }));
}

#[test]
fn every_golden_text_belongs_to_a_broken_configuration() {
    for golden in files(&folder("tests/golden/config"), "txt") {
        assert!(golden.with_extension("yaml").exists(), "{} is left over", golden.display());
    }
}

#[test]
fn llm_ds_own_samples_load_or_lack_only_what_is_not_supported_yet() {
    let Some(samples) = llm_d_samples() else { return };
    // Files of Helm values are no configurations; each other file is one.
    let configs = files(&samples, "yaml").into_iter().filter(|file| !name(file).starts_with("values-"));
    let (mut loaded, mut waiting, mut wrong) = (0, 0, Vec::new());
    for file in configs {
        match read(&file) {
            Ok(_) => loaded += 1,
            Err(errors) if errors.errors().iter().all(|one| one.cause == ErrorCause::NotSupportedYet) => waiting += 1,
            Err(errors) => wrong.push(errors.to_string()),
        }
    }
    println!("of llm-d's own samples {loaded} load and {waiting} need what is not supported yet");
    assert!(wrong.is_empty(), "llm-d reads these, and we refuse them:\n{}", wrong.join("\n"));
    assert!(loaded > 0 && loaded + waiting >= 10, "{loaded} load, {waiting} wait");
}
