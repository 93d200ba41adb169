//! Golden texts, and where llm-d's own samples lie.
//!
//! Must not know what a text says.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder of the repository, or beside it.
pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// llm-d's own samples, which this repository can't include; `None`, and a line that says so, where they are missing.
pub(crate) fn llm_d_samples() -> Option<PathBuf> {
    let samples = "../shared/llm-d-configs";
    let found = Some(folder(samples)).filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {samples} is missing");
    }
    found
}

/// Compares each text with its golden file. One that differs is written beside it as `.txt.new`.
///
/// # Panics
/// If any differs, with all that do.
pub(crate) fn compare(texts: impl IntoIterator<Item = (PathBuf, String)>) {
    let mut differing = Vec::new();
    for (golden, text) in texts {
        if fs::read_to_string(&golden).unwrap_or_default() != text {
            let new = golden.with_extension("txt.new");
            fs::write(&new, &text).unwrap();
            differing.push(format!("{}\n{text}", new.display()));
        }
    }
    let cure = "if they are right, rename the new files over the golden ones";
    assert!(differing.is_empty(), "{} texts differ; {cure}:\n{}", differing.len(), differing.join("\n"));
}
