//! The command line: its output, and the exit codes that scripts rely on.
//!
//! 0: done. 1: failed. 64: the configuration or the command line is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs the program in the repository's root.
fn murmuration(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_murmuration")).args(arguments).current_dir(root()).output().unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Exit code, standard output, standard error.
fn ran(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = murmuration(arguments);
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// The YAML files of a folder of the repository.
fn yaml(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = names.filter(|name| name.ends_with(".yaml")).map(|n| format!("{folder}/{n}")).collect();
    files.sort();
    files
}

#[test]
fn check_prints_the_effective_configuration_which_reads_back_to_itself() {
    let (code, first, errors) = ran(&["check"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(first.starts_with("apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"), "{first}");
    assert!(
        first.contains("answerWeight: 0.2") && first.contains("max-score-picker"),
        "defaults are written out: {first}"
    );
    let (code, again, errors) = ran(&["check", "--config-text", &first]);
    assert_eq!((code, again, errors.as_str()), (0, first, ""));
}

#[test]
fn check_takes_every_sample() {
    let samples = yaml("deploy/config").into_iter().filter(|file| !file.ends_with("/endpoints.yaml"));
    for file in samples {
        let (code, printed, errors) = ran(&["check", "--config-file", &file]);
        assert_eq!((code, errors.as_str()), (0, ""), "{file}");
        assert!(printed.contains("schedulingProfiles:"), "{file}");
    }
}

#[test]
fn check_exits_64_and_lists_all_errors_of_a_broken_file() {
    let broken = yaml("tests/golden/config");
    assert!(broken.len() >= 10);
    for file in broken {
        let (code, printed, errors) = ran(&["check", "--config-file", &file]);
        assert_eq!((code, printed.as_str()), (64, ""), "{file}");
        let golden = std::fs::read_to_string(root().join(file.replace(".yaml", ".txt"))).unwrap();
        let (head, listed) = errors.split_once('\n').unwrap();
        let golden: Vec<String> = golden.lines().map(|line| format!("tests/golden/config/{line}")).collect();
        assert_eq!(listed.lines().collect::<Vec<_>>(), golden, "{file}");
        let plural = if golden.len() == 1 { "error" } else { "errors" };
        assert_eq!(head, format!("murmuration: {} {plural} in the configuration", golden.len()));
    }
}

#[test]
fn errors_of_a_text_name_its_flag() {
    let (code, _, errors) = ran(&["check", "--config-text", "kind: EndpointPickerConfig"]);
    assert_eq!(code, 64);
    assert!(errors.ends_with("\n--config-text:1:1: `apiVersion` is missing\n"), "{errors}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (code, printed, errors) = ran(&["check", "--config-file", "nowhere.yaml"]);
    assert_eq!((code, printed.as_str()), (64, ""));
    assert!(errors.starts_with("murmuration: can't read nowhere.yaml: No such file"), "{errors}");
}

#[test]
fn a_wrong_command_line_is_64_and_says_what_was_meant() {
    for (arguments, expected) in [
        (&["chekc"][..], "a similar subcommand exists: 'check'"),
        (&["check", "--config-fil", "x"], "a similar argument exists: '--config-file'"),
        (&["check", "--config-file", "a", "--config-text", "b"], "cannot be used with"),
        (&["serve", "--drain-timeout", "5"], "such as `1s`, `500ms` or `1m30s`"),
        (&["serve", "--max-body-size", "10XB"], "write 65536, 25MB or 10MiB"),
        (&["explain", "--admin", "localhost"], "--admin"),
        (&[], "Usage: murmuration <COMMAND>"),
    ] {
        let (code, printed, errors) = ran(arguments);
        assert_eq!((code, printed.as_str()), (64, ""), "{arguments:?}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn help_says_what_the_program_is_and_can_do() {
    let (code, help, errors) = ran(&["--help"]);
    assert_eq!((code, errors.as_str()), (0, ""));
    assert!(help.starts_with("A leaderless Endpoint Picker"), "{help}");
    for verb in ["serve", "check", "explain", "sidecar"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(verb)), "{verb} is listed: {help}");
    }
}

#[test]
fn help_fits_a_terminal_and_leaves_no_flag_unexplained() {
    for verb in ["serve", "check", "explain", "sidecar"] {
        for flag in ["-h", "--help"] {
            let (code, help, errors) = ran(&[verb, flag]);
            assert_eq!((code, errors.as_str()), (0, ""));
            let long = help.lines().find(|line| line.chars().count() > 110);
            assert_eq!(long, None, "{verb} {flag}");
            let mut lines = help.lines().peekable();
            let mut flags = 0;
            while let Some(line) = lines.next() {
                // A wrapped line of a description may begin with a flag too, but is indented further.
                let Some(named) = line.strip_prefix("      --") else { continue };
                flags += 1;
                // The description is on the flag's own line or on the next one.
                let beside = named.trim_end().contains("  ");
                let below = lines.peek().is_some_and(|next| next.starts_with("        ") && !next.trim().is_empty());
                assert!(beside || below, "{verb} {flag}: --{named} has no description");
            }
            assert!(flags > 0, "{verb} {flag}: {help}");
        }
    }
}

#[test]
fn serve_help_groups_its_flags() {
    let (_, help, _) = ran(&["serve", "--help"]);
    let headings: Vec<&str> = help.lines().filter(|l| l.ends_with(':') && !l.starts_with(' ')).collect();
    let expected = [
        "Options:",
        "Configuration:",
        "Listeners:",
        "Transport security:",
        "Kubernetes:",
        "Replication:",
        "Pool:",
        "Requests and limits:",
        "Logs and traces:",
    ];
    assert_eq!(headings, expected, "{help}");
    assert!(!help.contains("exit-with-stdin"), "a flag for parent processes is hidden");
}

#[test]
fn serve_without_endpoints_says_what_is_missing_before_it_listens() {
    let (code, _, errors) = ran(&["serve", "--bind", "127.0.0.1", "--config-file", "deploy/config/default.yaml"]);
    assert_eq!(code, 64);
    assert!(errors.contains("or file-discovery under dataLayer.discovery.pluginRef"), "{errors}");
}

#[test]
fn serve_with_a_broken_configuration_is_64_too() {
    let (code, _, errors) = ran(&["serve", "--config-file", "tests/golden/config/08-two-pickers.yaml"]);
    assert_eq!(code, 64);
    assert!(errors.starts_with("murmuration: 1 error in the configuration\n"), "{errors}");
}

#[test]
fn explain_names_the_address_when_nothing_listens_there() {
    // Port 1 of loopback: nothing listens there on a normal machine.
    let (code, printed, errors) = ran(&["explain", "--admin", "127.0.0.1:1"]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(errors.contains("can't read http://127.0.0.1:1/debug/decisions"), "{errors}");
    assert!(errors.contains("(see --admin)?"), "{errors}");
}
