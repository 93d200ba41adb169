//! Configurations that people start from load; configurations that people get wrong say what to do.
//!
//! The broken ones and what they are told stand in `tests/golden/config`: a text that changed is written beside the
//! golden one as `.txt.new`, to be read by a person and renamed over it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use murmuration::config::error::Blame;
use murmuration::config::{self, Blueprint, Catalog, ConfigErrors, endpoints_file};

/// llm-d's own samples, which are not ours to commit; they are read where they lie beside the repository.
const RIVAL_SAMPLES: &str = "../shared/llm-d-configs";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

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
fn every_sample_loads_and_its_effective_form_means_the_same() {
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
fn every_sample_is_told_of_in_the_readme() {
    let readme = fs::read_to_string(folder("deploy/config/README.md")).unwrap();
    for file in files(&folder("deploy/config"), "yaml") {
        assert!(readme.contains(&format!("| `{}` |", name(&file))), "{}", file.display());
    }
}

#[test]
fn the_default_sample_is_what_counts_without_a_file() {
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
fn a_broken_configuration_is_told_all_that_is_wrong_with_it() {
    let broken = files(&folder("tests/golden/config"), "yaml");
    assert!(broken.len() >= 10, "{broken:?}");
    let mut differing = Vec::new();
    for file in broken {
        let golden = file.with_extension("txt");
        let told = match read(&file) {
            Err(errors) => format!("{errors}\n"),
            Ok(blueprint) => panic!("{} loads, as\n{}", file.display(), blueprint.effective),
        };
        if fs::read_to_string(&golden).unwrap_or_default() != told {
            let new = golden.with_extension("txt.new");
            fs::write(&new, &told).unwrap();
            differing.push(format!("{}\n{told}", new.display()));
        }
    }
    let cure = "where that is meant, rename the new files over the golden ones";
    assert!(differing.is_empty(), "{} texts differ; {cure}:\n{}", differing.len(), differing.join("\n"));
}

#[test]
fn every_golden_text_belongs_to_a_broken_configuration() {
    for golden in files(&folder("tests/golden/config"), "txt") {
        assert!(golden.with_extension("yaml").exists(), "{} is left over", golden.display());
    }
}

#[test]
fn llm_ds_own_samples_load_or_lack_only_what_is_not_here_yet() {
    let samples = folder(RIVAL_SAMPLES);
    if !samples.is_dir() {
        println!("skipped: {RIVAL_SAMPLES} is not here");
        return;
    }
    // Files of Helm values hold no document of ours; the others each are one.
    let configs = files(&samples, "yaml").into_iter().filter(|file| !name(file).starts_with("values-"));
    let (mut loaded, mut waiting, mut wrong) = (0, 0, Vec::new());
    for file in configs {
        match read(&file) {
            Ok(_) => loaded += 1,
            Err(errors) if errors.errors().iter().all(|one| one.blame == Blame::NotHereYet) => waiting += 1,
            Err(errors) => wrong.push(errors.to_string()),
        }
    }
    println!("of llm-d's own samples {loaded} load and {waiting} ask for what is not here yet");
    assert!(wrong.is_empty(), "llm-d reads these, and we call them wrong:\n{}", wrong.join("\n"));
    assert!(loaded > 0 && loaded + waiting >= 10, "{loaded} load, {waiting} wait");
}
