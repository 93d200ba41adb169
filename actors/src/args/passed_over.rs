//! Flags of llm-d's picker that switch nothing here. They are accepted, so that its manifests start this picker, and
//! told once. Those of llm-d's whose absence would weaken what somebody asked for (TLS of metrics, versions and ciphers
//! of TLS) are not among them: they are refused by name.
//!
//! Must not know why each has no meaning; docs/helm-values.md says it.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

/// Flags that may stand alone, as in `--enable-pprof` or `--enable-pprof=false`.
const SWITCHES: [&str; 9] = [
    "allow-experimental-plugins",
    "disable-endpoint-subset-filter",
    "emit-endpoint-scores",
    "enable-cert-reload",
    "enable-grpc-stream-metrics",
    "enable-pprof",
    "ha-enable-leader-election",
    "health-checking",
    "zap-devel",
];
/// Flags with a value.
const VALUES: [&str; 7] = [
    "grpc-max-recv-msg-size",
    "grpc-max-send-msg-size",
    "metrics-staleness-threshold",
    "zap-encoder",
    "zap-log-level",
    "zap-stacktrace-level",
    "zap-time-encoding",
];

/// The names of those that were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOverArgs(pub Vec<&'static str>);

// === impl PassedOverArgs ===

impl PassedOverArgs {
    /// All flags that are accepted, without their dashes.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SWITCHES.into_iter().chain(VALUES)
    }
}

impl Args for PassedOverArgs {
    fn augment_args(command: Command) -> Command {
        let hidden = |name: &'static str| Arg::new(name).long(name).hide(true).overrides_with(name);
        let switches = SWITCHES.map(|name| hidden(name).num_args(0..=1).require_equals(true));
        command.args(switches).args(VALUES.map(|name| hidden(name).num_args(1)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for PassedOverArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |name: &&str| matches.value_source(name) == Some(ValueSource::CommandLine);
        Ok(Self(Self::names().filter(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser;

    use crate::args::{Command, Verb};

    fn given(flags: &[&str]) -> Result<Vec<&'static str>, clap::Error> {
        let words = ["murmuration", "serve"].iter().chain(flags);
        let Verb::Serve(args) = Command::try_parse_from(words)?.verb else { panic!("not serve") };
        Ok(args.passed_over.0)
    }

    #[test]
    fn flags_of_llm_d_are_accepted_as_its_manifests_write_them() {
        let flags =
            ["--zap-encoder", "json", "--enable-pprof=false", "--ha-enable-leader-election", "--zap-log-level=5"];
        let names = ["enable-pprof", "ha-enable-leader-election", "zap-encoder", "zap-log-level"];
        assert_eq!(given(&flags).unwrap(), names);
        assert_eq!(given(&["--enable-pprof", "--enable-pprof"]).unwrap(), ["enable-pprof"]);
        assert!(given(&[]).unwrap().is_empty());
    }

    #[test]
    fn what_would_weaken_security_is_refused() {
        for flag in
            ["--metrics-client-ca-file=a", "--metrics-cert-dir=a", "--tls-min-version=VersionTLS13", "--zap-x=1"]
        {
            assert!(given(&[flag]).is_err(), "{flag}");
        }
    }
}
