//! Checks the rules of the code base itself: sizes, module docs, the rows of `src/` (which room may import which),
//! files in circles, the core's dependencies, and one runbook page for each refusal.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/modules.rs"]
mod modules;
#[path = "support/source_files.rs"]
mod source_files;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use murmuration::request::RefusalCode;

use circles::circles;
use modules::Modules;

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
const ACTOR_MOD_LINES_MAX: usize = 60;

/// The rows of `src/`: a room imports only from rows at or above its own.
const ROWS: [&[&str]; 8] = [
    &["id", "time", "chance"],
    &["prefix"],
    &["request"],
    &["fleet", "session", "event", "dialect"],
    &["replication"],
    &["schedule", "plugin", "config"],
    &[],
    &["scheduler"],
];

/// Circles that stay: where their files' paths begin, and the reason.
const CIRCLES: [(&[&str], &str); 6] = [
    (
        &["src/replication/codec", "src/replication/encoded.rs"],
        "the bytes of a batch, of a fact and of a report are one format with one error and one bound",
    ),
    (
        &["src/replication/fact_log.rs", "src/replication/pages.rs"],
        "pages are packed from the log, and the log knows how long a fact is worth a place in a page",
    ),
    (
        &["src/scheduler/"],
        "one type, `Scheduler`: each file has the methods of one concern, and its state is in mod.rs",
    ),
    (
        &["actors/src/ext_proc/exchange"],
        "one type, `Exchange`: the methods of its second half have a file of their own",
    ),
    (
        &["actors/src/peers/follow.rs", "actors/src/peers/follower.rs"],
        "what a replica needs to follow is defined with the start of all followers",
    ),
    (
        &["actors/src/peers/server.rs", "actors/src/peers/service.rs", "actors/src/peers/subscriber_stream.rs"],
        "what followers are served is defined with the server, which starts their streams",
    ),
];

/// Everything that the core may depend on.
const CORE_DEPENDENCIES: [&str; 10] = [
    "bincode",
    "memchr",
    "serde",
    "serde-saphyr",
    "serde_json",
    "serde_path_to_error",
    "siphasher",
    "strsim",
    "thiserror",
    "xxhash-rust",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files() -> Vec<(PathBuf, String)> {
    let mut found: Vec<PathBuf> = Vec::new();
    for room in ["src", "actors", "proto/src", "chaos", "tests", "examples"] {
        found.extend(source_files::rust_files(&root().join(room)));
    }
    found.sort();
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

fn assert_none(what: &str, offenders: Vec<String>) {
    assert!(offenders.is_empty(), "{what}:\n  {}", offenders.join("\n  "));
}

#[test]
fn every_module_begins_with_a_doc() {
    let undocumented =
        rust_files().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| shown(&path));
    assert_none("modules without a doc", undocumented.collect());
}

#[test]
fn no_file_is_too_long() {
    let long = rust_files().into_iter().filter_map(|(path, text)| {
        let (lines, shown) = (text.lines().count(), shown(&path));
        let most = if shown.starts_with("actors") && shown.ends_with("/mod.rs") {
            ACTOR_MOD_LINES_MAX
        } else {
            FILE_LINES_MAX
        };
        (lines > most).then(|| format!("{shown}: {lines} lines, at most {most}"))
    });
    assert_none("files that are too long", long.collect());
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for (path, text) in rust_files() {
        for (name, line, length) in functions(&text) {
            if length > FUNCTION_LINES_MAX {
                long.push(format!(
                    "{}:{line}: fn {name} has {length} lines, at most {FUNCTION_LINES_MAX}",
                    shown(&path)
                ));
            }
        }
    }
    assert_none("functions that are too long", long);
}

/// Functions of a formatted file: name, line, length. rustfmt puts a function's closing brace at its own indentation.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        let words = line.trim_start();
        let Some(at) = words.find("fn ").filter(|&at| at == 0 || words.as_bytes()[at - 1] == b' ') else { continue };
        if words.starts_with("//") || words[..at].contains(['"', '(', '=']) && !words[..at].starts_with("pub(") {
            continue;
        }
        let name: String = words[at + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let closing = format!("{}}}", " ".repeat(indent));
        let body = lines[start..].iter().take(400);
        let Some(length) = body.clone().position(|line| *line == closing) else { continue };
        if body.clone().take(length).any(|line| {
            line.trim_end().ends_with(';')
                && line.starts_with(&" ".repeat(indent))
                && !line.starts_with(&" ".repeat(indent + 1))
        }) {
            continue;
        }
        found.push((name, start + 1, length + 1));
    }
    found
}

#[test]
fn rooms_of_the_core_name_only_rooms_of_rows_above() {
    let row_of = |room: &str| ROWS.iter().position(|rooms| rooms.contains(&room));
    let mut offenders = BTreeSet::new();
    for module in Modules::read("src/lib.rs", true).iter().filter(|module| !module.path.is_empty()) {
        let room = &module.path[0];
        let row = row_of(room).unwrap_or_else(|| panic!("{}: {room:?} has no row; add it to ROWS", module.file));
        for path in module.named().filter(|path| path.first().is_some_and(|first| first == "crate")) {
            let Some(other) = path.get(1) else { continue };
            if row_of(other).is_some_and(|other| other > row) {
                offenders.insert(format!("{}: `{}`: {other} is in a row below {room}", module.file, path.join("::")));
            }
        }
    }
    assert_none("imports from a row below", offenders.into_iter().collect());
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    let mut offenders = Vec::new();
    let mut unused: Vec<&[&str]> = CIRCLES.iter().map(|(paths, _)| *paths).collect();
    for root in ["src/lib.rs", "actors/src/lib.rs"] {
        for circle in circles(&Modules::read(root, false)) {
            let is_within =
                |paths: &[&str]| circle.files.iter().all(|file| paths.iter().any(|path| file.starts_with(path)));
            if CIRCLES.iter().any(|(paths, _)| is_within(paths)) {
                unused.retain(|paths| !is_within(paths));
            } else {
                let files: Vec<&str> = circle.files.iter().map(String::as_str).collect();
                offenders.push(format!("{}\n    {}", files.join(", "), circle.imports.join("\n    ")));
            }
        }
    }
    assert_none("circles of files; see tests/architecture/circles.rs for what counts", offenders);
    assert!(unused.is_empty(), "these are no circles any more; take them out of CIRCLES: {unused:?}");
}

#[test]
fn the_core_has_only_the_allowed_dependencies() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--package", "murmuration", "--edges", "normal", "--depth", "1", "--prefix", "none", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo tree runs");
    let text = String::from_utf8(tree.stdout).unwrap();
    let found: BTreeSet<&str> = text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert!(!found.is_empty(), "{}", String::from_utf8_lossy(&tree.stderr));
    let allowed = BTreeSet::from(CORE_DEPENDENCIES);
    let unexpected: Vec<String> = found.difference(&allowed).map(|name| (*name).to_owned()).collect();
    assert_none("dependencies that src/ must not have", unexpected);
}

#[test]
fn the_core_never_waits_reads_a_clock_or_logs() {
    let words = [
        "tokio",
        "async fn",
        ".await",
        "Instant::now",
        "SystemTime",
        "thread::",
        "println!",
        "eprintln!",
        "tracing::",
        "HashMap<",
    ];
    let mut offenders = Vec::new();
    for (path, text) in rust_files() {
        let shown = shown(&path);
        if !shown.starts_with("src/") || shown.contains("test") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                offenders.push(format!("{shown}:{}: {word}", number + 1));
            }
        }
    }
    assert_none("words that have no place in src/", offenders);
}

#[test]
fn no_unfinished_work_is_marked() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
    ];
    let mut offenders = Vec::new();
    for (path, text) in rust_files() {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offenders.push(format!("{}:{}: {}", shown(&path), number + 1, line.trim()));
            }
        }
    }
    assert_none("marks of unfinished work", offenders);
}

#[test]
fn every_refusal_has_a_runbook_page_and_every_page_a_refusal() {
    let pages: BTreeSet<String> = fs::read_dir(root().join("deploy/runbook"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // `alerts` is a folder with the pages of alerts.
        .filter(|path| path.is_file())
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|page| page != "README")
        .collect();
    let codes: BTreeSet<String> = RefusalCode::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(pages, codes);
}
