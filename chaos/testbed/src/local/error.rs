//! Why a testbed can't start, or can't go on.
//!
//! Must not know how errors are shown.

use std::io;
use std::path::PathBuf;

use murmuration_kit::pool::PoolError;

/// Why a testbed can't start, or can't go on as asked.
#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    /// A file or a folder could not be used.
    #[error("can't {what}: {source}")]
    File {
        /// What was tried, with the path.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// A process could not be started.
    #[error("can't start {name}: {source}")]
    Spawn {
        /// The process.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A process ended unexpectedly.
    #[error("{name} ended ({status}) without being told to; its log, {}, ends with:\n{last}", log.display())]
    Ended {
        /// The process.
        name: String,
        /// Its exit status.
        status: String,
        /// Its log.
        log: PathBuf,
        /// The log's last lines.
        last: String,
    },
    /// Something took too long.
    #[error("{what} after {seconds} s; {cure}")]
    Late {
        /// What has not happened.
        what: String,
        /// How long the testbed waited.
        seconds: u64,
        /// Where to look.
        cure: String,
    },
    /// The configuration is wrong, or the testbed's engines can't be put into it.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// No address to serve on.
    #[error("can't listen on 127.0.0.1:{port}: {source}; is another testbed running? --port 0 takes any free port")]
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
    /// The network namespaces could not be set up.
    #[error("can't set up the testbed's network: {why}")]
    Network {
        /// The output of the tools.
        why: String,
    },
    /// There is no engine or replica with this number, or it is not in the required state.
    #[error("there is no {kind} {index} in this testbed that could be {injection}")]
    NoSuch {
        /// Engine or replica.
        kind: &'static str,
        /// The number that was asked for.
        index: usize,
        /// What should have been done with it.
        injection: &'static str,
    },
}

// === impl TestbedError ===

impl TestbedError {
    /// Whether the cause is wrong usage: the configuration can't be used as it is written.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Pool(_))
    }

    /// For `map_err`: `what` was tried with a file.
    pub(super) fn file(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::File { what, source }
    }
}
