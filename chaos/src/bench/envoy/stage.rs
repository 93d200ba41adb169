//! A town with one replica and one Envoy for one response path, and what is measured beside that replica.
//!
//! Must not know requests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::guarded;
use super::way::Way;
use crate::bench::Failure;
use crate::bench::server::Server;
use crate::storm::args::Telling;
use crate::town::args::{ResponsePath, Sharing};
use crate::town::{Args, Town};

/// A town and two foreign servers of it.
#[derive(Debug)]
pub(super) struct Stage {
    response_path: ResponsePath,
    town: Town,
    noop: Server,
    plain: Server,
}

/// A town of `engines` with one replica of its own, and one Envoy that asks the pickers at `foreign` too.
pub(in crate::bench) async fn town(
    response_path: ResponsePath,
    engines: &[SocketAddr],
    envoy: Option<&Path>,
    logs: Option<PathBuf>,
    foreign: Vec<SocketAddr>,
) -> Result<Town, Failure> {
    let program = std::env::current_exe().map_err(|why| format!("can't find this program itself: {why}"))?;
    let args = Args {
        own_networks: false,
        storm: None,
        telling: Telling::default(),
        engines: 1,
        replicas: 1,
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
        // All that the town starts of ours is a replica, which this program can be too.
        program: Some(program),
    };
    let mut tell = |line: &str| eprintln!("{line}");
    Town::start(&args, &mut tell).await.map_err(|why| why.to_string())
}

// === impl Stage ===

impl Stage {
    /// Starts everything for one response path. `logs` is where the town's files go, if not where towns put them.
    pub(super) async fn set(
        response_path: ResponsePath,
        engines: &[SocketAddr],
        envoy: Option<&Path>,
        logs: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let noop = Server::noop().await?;
        let plain = Server::replica(engines, &[format!("--response-path={}", word(response_path))]).await?;
        let foreign = vec![noop.ext_proc, plain.ext_proc];
        let town = town(response_path, engines, envoy, logs, foreign).await?;
        Ok(Self { response_path, town, noop, plain })
    }

    /// A folder for another town's files, in this town's own.
    pub(super) fn logs(&self, name: &str) -> PathBuf {
        self.town.run.join(name)
    }

    /// The way past every picker.
    pub(super) fn past_pickers(&self) -> Result<Way, Failure> {
        Ok(Way::new("none", None, self.town.direct, self.envoy()?, None))
    }

    /// The ways by the pickers.
    pub(super) fn ways(&self) -> Result<[Way; 3], Failure> {
        let (envoy, path) = (self.envoy()?, Some(word(self.response_path)));
        let [noop, plain] = self.town.foreign[..] else { return Err("the town has too few entrances".to_owned()) };
        let tls = self.town.replicas.first().and_then(|replica| replica.pid);
        let tls = tls.ok_or("the town's replica ended")?;
        Ok([
            Way::new("noop", path, noop, envoy, Some(self.noop.pid)),
            Way::new("ours", path, plain, envoy, Some(self.plain.pid)),
            Way::new("ours-tls", path, self.town.public, envoy, Some(tls)),
        ])
    }

    /// Stops the town and waits until it is gone.
    pub(super) async fn clear(self) {
        for name in self.town.stop().await {
            eprintln!("{name} had to be killed");
        }
    }

    fn envoy(&self) -> Result<u32, Failure> {
        guarded::behind(self.town.envoy_pid().ok_or("Envoy ended")?)
    }
}

fn word(path: ResponsePath) -> &'static str {
    match path {
        ResponsePath::Stay => "stay",
        ResponsePath::Leave => "leave",
    }
}
