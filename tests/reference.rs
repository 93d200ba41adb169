//! The pages of `docs/reference/` are written from the code and must be current.
//!
//! Where a page differs from the code, the test fails and says which. This writes all pages anew:
//!
//! ```sh
//! UPDATE_REFERENCE=1 cargo test --test reference
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "reference/configuration.rs"]
mod configuration;
#[path = "reference/descriptions.rs"]
mod descriptions;
#[path = "reference/flags.rs"]
mod flags;
#[path = "reference/log_lines.rs"]
mod log_lines;
#[path = "reference/markdown.rs"]
mod markdown;
#[path = "reference/metrics.rs"]
mod metrics;
#[path = "support/source_files.rs"]
mod source_files;
#[path = "reference/wire.rs"]
mod wire;

use std::fs;
use std::path::{Path, PathBuf};

use murmuration::config::reference;

/// The environment variable that has the pages written instead of compared.
const UPDATE: &str = "UPDATE_REFERENCE";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The page `name` must be `text`.
fn is_current(name: &str, text: &str) {
    let page: PathBuf = root().join("docs/reference").join(name);
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&page, text).unwrap();
    }
    let found = fs::read_to_string(&page).unwrap_or_default();
    let first = found.lines().zip(text.lines()).position(|(found, right)| found != right);
    assert!(
        found == text,
        "docs/reference/{name} is not what the code says, first in line {}; write it anew with \
         `{UPDATE}=1 cargo test --test reference`",
        first.unwrap_or_else(|| found.lines().count().min(text.lines().count())) + 1,
    );
}

#[test]
fn the_page_of_flags_is_current() {
    is_current("flags.md", &flags::page());
}

#[test]
fn the_page_of_metrics_is_current() {
    is_current("metrics.md", &metrics::page());
}

#[test]
fn the_page_of_the_configuration_is_current() {
    is_current("configuration.md", &configuration::page());
}

#[test]
fn every_field_that_is_read_is_listed_and_no_other() {
    for (file, fields) in
        [("src/config/raw.rs", reference::CONFIGURATION), ("src/config/endpoints_file.rs", reference::ENDPOINTS_FILE)]
    {
        let (read, listed) = (configuration::fields_read(file), configuration::fields_listed(fields));
        assert_eq!(listed, read, "src/config/reference.rs lists the fields that {file} reads");
    }
}

#[test]
fn the_page_of_wire_records_is_current() {
    is_current("wire.md", &wire::page());
}

#[test]
fn every_line_at_warn_and_error_is_explained_in_operations() {
    let page = fs::read_to_string(root().join("docs/operations.md")).unwrap();
    let lines = log_lines::of_trouble();
    assert!(lines.len() >= 15, "{lines:?}");
    // A line that carries its own cure in code is known by its beginning.
    let is_explained = |line: &String| {
        let (begins, rest) = line.split_once("; ").unwrap_or((line, ""));
        page.contains(&format!("`{line}`")) || rest.contains('`') && page.contains(&format!("`{begins}; ...`"))
    };
    let missing: Vec<String> = lines.into_iter().filter(|line| !is_explained(line)).collect();
    assert!(missing.is_empty(), "docs/operations.md does not explain these log lines:\n  {}", missing.join("\n  "));
}

#[test]
fn every_metric_that_a_page_names_exists() {
    let known = metrics::names();
    for page in [
        "docs/operations.md",
        "docs/concepts.md",
        "docs/local-replies.md",
        "docs/istio.md",
        "docs/security.md",
        "docs/sidecar.md",
    ] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named = words.filter(|word| word.starts_with("murmuration_") || word.starts_with("llm_d_"));
        let histogram =
            |word: &str| ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end).map(str::to_owned));
        for word in named {
            let is_known = known.contains(word) || histogram(word).is_some_and(|family| known.contains(&family));
            assert!(is_known || word == "murmuration_actors", "{page}: no metric is called {word}");
        }
    }
}
