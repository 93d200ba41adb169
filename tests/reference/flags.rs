//! The page of the program's flags, from the command line's own definition.
//!
//! Must not know any flag.

use clap::{Arg, Command, CommandFactory};
use murmuration_actors::args;

use crate::markdown::{NOTE, code, table};

const INTRO: &str = "\
# Flags

`murmuration COMMAND --help` says the same. A flag that llm-d's endpoint picker has too keeps its name and default.

Durations are written as in Go (`50ms`, `2.5s`, `1m30s`), sizes as `65536`, `25MB` or `10MiB`. A flag with a variable reads
it where the flag is not given. Exit codes: 0 done, 1 failed, 64 the command line or the configuration is wrong.
";

/// The page.
pub(crate) fn page() -> String {
    let mut program = args::Command::command();
    program.build();
    let mut text = format!("{INTRO}\n{NOTE}");
    for verb in program.get_subcommands().filter(|verb| verb.get_name() != "help") {
        text.push_str(&section(verb));
    }
    text
}

fn section(verb: &Command) -> String {
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("\n## `murmuration {}`\n\n{}\n", verb.get_name(), sentence(&about));
    let shown: Vec<&Arg> =
        verb.get_arguments().filter(|arg| !arg.is_hide_set() && arg.get_id().as_str() != "help").collect();
    let mut headings: Vec<&str> = Vec::new();
    for arg in &shown {
        let heading = arg.get_help_heading().unwrap_or_default();
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        if !heading.is_empty() {
            text.push_str(&format!("\n### {heading}\n"));
        }
        let of = shown.iter().filter(|arg| arg.get_help_heading().unwrap_or_default() == heading);
        let rows: Vec<Vec<String>> = of.map(|arg| row(arg)).collect();
        text.push_str(&format!("\n{}", table(&["flag", "default", "variable", "what it does"], &rows)));
    }
    text
}

fn row(arg: &Arg) -> Vec<String> {
    let value = arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let takes = arg.get_action().takes_values();
    let name = match (arg.get_long(), arg.get_short()) {
        (None, _) => format!("[{}]", arg.get_id()),
        (Some(long), short) => {
            let short = short.map(|short| format!("-{short}, ")).unwrap_or_default();
            let equals = if arg.is_require_equals_set() { "=" } else { " " };
            let value = value.filter(|_| takes).map(|value| format!("{equals}{value}")).unwrap_or_default();
            format!("{short}--{long}{value}")
        }
    };
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default = if takes { defaults.join(", ") } else { String::new() };
    let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut help = sentence(&arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default());
    // Flags of a yes and no have no names for their values.
    for value in arg.get_possible_values().iter().filter(|value| !value.is_hide_set() && value.get_help().is_some()) {
        let what = value.get_help().map(ToString::to_string).unwrap_or_default();
        help.push_str(&format!(" `{}`: {}", value.get_name(), sentence(&what)));
    }
    assert!(help.len() > 8, "{name} has no description");
    vec![code(&name), code(&default), code(&variable), help]
}

/// clap cuts the full stop of a description's only sentence.
fn sentence(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.ends_with(['.', ':', '?']) { text } else { format!("{text}.") }
}
