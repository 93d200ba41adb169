//! A testbed with one replica and one Envoy for one response path, and the other pickers that are measured.
//!
//! Must not know requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::guarded;
use super::way::Way;
use crate::Failure;
use crate::server::Server;
use murmuration_simulation::plan::ResponsePath;
use murmuration_testbed::local::args::{OnPrefillFailure, Sharing};
use murmuration_testbed::local::{Args, Testbed};
use murmuration_testbed::storm::args::StormOptions;

/// A testbed, and two pickers that run outside of it.
#[derive(Debug)]
pub(super) struct Stage {
    response_path: ResponsePath,
    testbed: Testbed,
    noop: Server,
    plain: Server,
}

/// A testbed of `engines` with one replica of its own, and one Envoy that also calls the pickers at `foreign`.
pub(crate) async fn testbed(
    response_path: ResponsePath,
    engines: &[SocketAddr],
    envoy: Option<&Path>,
    logs: Option<PathBuf>,
    foreign: Vec<SocketAddr>,
) -> Result<Testbed, Failure> {
    let program = std::env::current_exe().map_err(|why| format!("can't find this program itself: {why}"))?;
    let args = Args {
        own_networks: false,
        storm: None,
        options: StormOptions::default(),
        engines: 1,
        replicas: 1,
        zones: 1,
        pd: None,
        epd: None,
        on_prefill_failure: OnPrefillFailure::default(),
        engine_urls: engines.iter().map(|engine| format!("http://{engine}")).collect(),
        model: Some("base".to_owned()),
        envoy: envoy.map(Path::to_owned),
        port: Some(0),
        response_path,
        sharing: Sharing::None,
        config_file: None,
        check: false,
        lasting: None,
        dir: logs,
        foreign_ext_proc: foreign,
        // The testbed starts this program as its replica.
        program: Some(program),
    };
    let mut print = |line: &str| eprintln!("{line}");
    Testbed::start(&args, &mut print).await.map_err(|why| why.to_string())
}

// === impl Stage ===

impl Stage {
    /// Starts everything for one response path. `logs` is the folder of the testbed's files; `None` is its default.
    pub(super) async fn set(
        response_path: ResponsePath,
        engines: &[SocketAddr],
        envoy: Option<&Path>,
        logs: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let noop = Server::noop().await?;
        let plain = Server::replica(engines, &[format!("--response-path={}", path_name(response_path))]).await?;
        let foreign = vec![noop.ext_proc, plain.ext_proc];
        let testbed = testbed(response_path, engines, envoy, logs, foreign).await?;
        Ok(Self { response_path, testbed, noop, plain })
    }

    /// A folder for another testbed's files, in this testbed's own.
    pub(super) fn logs(&self, name: &str) -> PathBuf {
        self.testbed.run.join(name)
    }

    /// The way without a picker.
    pub(super) fn past_pickers(&self) -> Result<Way, Failure> {
        Ok(Way::new("none", None, self.testbed.direct, self.envoy()?, None))
    }

    /// The ways through the pickers.
    pub(super) fn ways(&self) -> Result<[Way; 3], Failure> {
        let (envoy, path) = (self.envoy()?, Some(path_name(self.response_path)));
        let [noop, plain] = self.testbed.foreign[..] else {
            return Err("the testbed has too few entrances".to_owned());
        };
        let tls = self.testbed.replicas.first().and_then(|replica| replica.pid);
        let tls = tls.ok_or("the testbed's replica ended")?;
        Ok([
            Way::new("noop", path, noop, envoy, Some(self.noop.pid)),
            Way::new("ours", path, plain, envoy, Some(self.plain.pid)),
            Way::new("ours-tls", path, self.testbed.public, envoy, Some(tls)),
        ])
    }

    /// Stops the testbed and waits until it is gone.
    pub(super) async fn clear(self) {
        for name in self.testbed.stop().await {
            eprintln!("{name} had to be killed");
        }
    }

    fn envoy(&self) -> Result<u32, Failure> {
        guarded::behind(self.testbed.envoy_pid().ok_or("Envoy ended")?)
    }
}

fn path_name(path: ResponsePath) -> &'static str {
    match path {
        ResponsePath::Stay => "stay",
        ResponsePath::Leave => "leave",
    }
}
