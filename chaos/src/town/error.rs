//! Why a town can't be.
//!
//! Must not know who is told.

use std::io;
use std::path::PathBuf;

use murmuration::config::ConfigErrors;

/// Why a town can't start, or can't go on as asked.
#[derive(Debug, thiserror::Error)]
pub enum TownError {
    /// Something with a file or a folder.
    #[error("can't {what}: {source}")]
    File {
        /// What was tried, with the path.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A process could not be born.
    #[error("can't start {name}: {source}")]
    Spawn {
        /// Which.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A process ended by itself.
    #[error("{name} ended ({status}) without being told to; its log, {}, ends with:\n{last}", log.display())]
    Ended {
        /// Which.
        name: String,
        /// How.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// Something took too long.
    #[error("{what} after {seconds} s; {cure}")]
    Late {
        /// What has not come about.
        what: String,
        /// How long it was waited for.
        seconds: u64,
        /// Where to look.
        cure: String,
    },
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// The configuration is right for a replica, and can't be given the town's engines.
    #[error("can't put the town's engines into {file}: {why}")]
    Rewrite {
        /// The configuration.
        file: String,
        /// Why not.
        why: String,
    },
    /// No address to serve on.
    #[error("can't listen on 127.0.0.1:{port}: {source}; is another town running? --port 0 takes any free port")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// Every port that was tried is taken.
    #[error("no free port on 127.0.0.1 between {from} and {to}; is something left over from an earlier run?")]
    Ports {
        /// The first that was tried.
        from: u16,
        /// The last.
        to: u16,
    },
    /// A real engine that can't be used.
    #[error("--engine {url}: {why}")]
    Engine {
        /// As it was given.
        url: String,
        /// Why not.
        why: String,
    },
    /// There is no Envoy.
    #[error("no Envoy: {why}; {cure}")]
    Envoy {
        /// What failed.
        why: String,
        /// What to do.
        cure: &'static str,
    },
    /// The machine did not give the networks that were asked for.
    #[error("can't set up the town's network: {why}")]
    Network {
        /// What its tools said.
        why: String,
    },
    /// Nothing with this number.
    #[error("there is no {kind} {index} in this town that could be {deed}")]
    NoSuch {
        /// Engine or replica.
        kind: &'static str,
        /// The number that was asked for.
        index: usize,
        /// What was to be done with it.
        deed: &'static str,
    },
}

// === impl TownError ===

impl TownError {
    /// Whether nothing failed: what was asked can't be done as it is written.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Rewrite { .. })
    }

    /// For `map_err`: `what` was tried with a file.
    pub(super) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}
