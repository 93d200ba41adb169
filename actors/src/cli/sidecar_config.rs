//! llm-d's YAML configuration of a sidecar: its keys are the names of flags, which win where both are given. A list of the
//! command line replaces the configuration's: together they could allow more than either.
//!
//! Must not know any flag.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Value;

use crate::args::SidecarArgs;

/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The same command line with the configuration's flags before its own; `None` if it names no configuration.
///
/// # Errors
/// One sentence that names the flag and what is wrong.
pub(super) fn with_configuration(arguments: &[OsString], args: &SidecarArgs) -> Result<Option<Vec<OsString>>, String> {
    let (flag, text) = match (&args.configuration, &args.configuration_file) {
        (Some(text), _) => ("--configuration".to_owned(), text.clone()),
        (None, Some(file)) => {
            let flag = format!("--configuration-file {}", file.display());
            let text = read(file).map_err(|why| format!("{flag}: {why}"))?;
            (flag, text)
        }
        (None, None) => return Ok(None),
    };
    let flags = flags(&text).map_err(|why| format!("{flag}: {why}"))?;
    let own = arguments.iter().take(2).cloned();
    let flags = flags.into_iter().filter(|(name, _)| !is_given(arguments, name));
    let flags = flags.map(|(name, value)| OsString::from(format!("{name}={value}")));
    Ok(Some(own.chain(flags).chain(arguments.iter().skip(2).cloned()).collect()))
}

/// Whether a command line has this flag.
fn is_given(arguments: &[OsString], name: &str) -> bool {
    let rest = |argument: &OsString| argument.to_str().and_then(|text| text.strip_prefix(name)).map(str::to_owned);
    arguments.iter().filter_map(rest).any(|rest| rest.is_empty() || rest.starts_with('='))
}

fn read(file: &Path) -> Result<String, String> {
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    std::fs::read_to_string(file).map_err(|error| error.to_string())
}

/// The flags with their values.
fn flags(text: &str) -> Result<Vec<(String, String)>, String> {
    let keys: BTreeMap<String, Value> =
        serde_saphyr::from_str(text).map_err(|error| format!("it is no mapping of flags to values: {error}"))?;
    let mut flags = Vec::new();
    for (key, value) in keys {
        let values = match value {
            Value::Null => continue,
            Value::Array(values) => values,
            value => vec![value],
        };
        let values: Option<Vec<String>> = values.iter().map(scalar).collect();
        let values = values.ok_or_else(|| format!("{key}: it is no text, number, or list of them"))?;
        flags.push((format!("--{key}"), values.join(",")));
    }
    Ok(flags)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(on) => Some(on.to_string()),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, StageArg, Verb};

    fn parsed(arguments: &[&str]) -> Result<Box<SidecarArgs>, String> {
        let arguments: Vec<OsString> = ["murmuration", "sidecar"].iter().chain(arguments).map(Into::into).collect();
        let args = |arguments: &[OsString]| match Command::try_parse_from(arguments).map(|command| command.verb) {
            Ok(Verb::Sidecar(args)) => Ok(args),
            Ok(_) => panic!("sidecar"),
            Err(error) => Err(error.to_string()),
        };
        let first = args(&arguments)?;
        with_configuration(&arguments, &first)?.map_or(Ok(first), |whole| args(&whole))
    }

    #[test]
    fn keys_are_flags_and_a_flag_of_the_command_line_wins() {
        let yaml = "{port: 8085, model-server-port: 8203, secure-proxy: false, prefill-retry-backoff: 1s, enable-tls: [prefiller, decoder]}";
        let args = parsed(&["--configuration", yaml, "--port=9000"]).unwrap();
        assert_eq!((args.port, args.model_server_port, args.secure_serving), (9000, 8203, false));
        assert_eq!(args.prefill_retry_backoff.as_secs(), 1);
        assert_eq!(args.enable_tls, [StageArg::Prefiller, StageArg::Decoder]);
        assert_eq!(parsed(&["--port=9000"]).unwrap().port, 9000);
    }

    #[test]
    fn a_list_of_the_command_line_replaces_the_configurations() {
        let yaml = "{allowed-targets: ['10.0.0.0/8:8000'], enable-tls: [decoder], allowed-targets-file: a}";
        for own in [&["--allowed-targets=b:1", "--allowed-targets=c:1"][..], &["--allowed-targets", "b:1,c:1"]] {
            let arguments = [&["--configuration", yaml][..], own].concat();
            let args = parsed(&arguments).unwrap();
            assert_eq!(args.allowed_targets, ["b:1", "c:1"]);
            assert_eq!(args.enable_tls, [StageArg::Decoder], "what only the configuration has counts");
            assert!(args.allowed_targets_file.is_some());
        }
        let args = parsed(&["--configuration", yaml, "--allowed-targets-file=b"]).unwrap();
        assert_eq!(args.allowed_targets, ["10.0.0.0/8:8000"], "a flag with a longer name is another one");
    }

    #[test]
    fn a_wrong_configuration_says_where() {
        for (arguments, expected) in [
            (&["--configuration=[1]"][..], "--configuration: it is no mapping"),
            (&["--configuration={port: {a: 1}}"], "--configuration: port: it is no text"),
            (&["--configuration={prot: 1}"], "'--prot'"),
            (&["--configuration-file=/nowhere"], "--configuration-file /nowhere"),
            (&["--configuration={}", "--configuration-file=x"], "cannot be used with"),
        ] {
            let why = parsed(arguments).unwrap_err();
            assert!(why.contains(expected), "{arguments:?}: {why}");
        }
    }
}
