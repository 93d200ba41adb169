//! The testbed's replicas: `murmuration serve`, with TLS and its defaults as in production, on loopback.
//!
//! Must not know engines or Envoy.

use std::net::SocketAddr;
use std::path::PathBuf;

use murmuration_actors::admin::client;
use murmuration_simulation::plan::ResponsePath;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

use super::ports::Ports;
use super::process::Process;
use super::replication::ReplicationPlan;
use super::{PATIENCE, TestbedError, itself};

/// Interval between two checks of a replica's readiness.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// What all replicas of a testbed are started with.
#[derive(Clone, Debug)]
pub(super) struct Spawner {
    /// The program that serves.
    pub(super) program: PathBuf,
    /// The EndpointPickerConfig.
    pub(super) config: PathBuf,
    /// Whether answers pass through.
    pub(super) response_path: ResponsePath,
    /// Where logs go.
    pub(super) run: PathBuf,
    /// How they find each other; `None` where they share nothing.
    pub(super) replication: Option<ReplicationPlan>,
}

/// One replica of the testbed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaSpot {
    /// Its name.
    pub name: String,
    /// Its zone; empty where there is one alone.
    pub zone: String,
    /// Its ext-proc service, over TLS.
    pub ext_proc: SocketAddr,
    /// Its gRPC health service.
    pub health: SocketAddr,
    /// Its metrics and debug pages.
    pub admin: SocketAddr,
    /// Its gossip, over UDP.
    pub gossip: SocketAddr,
    /// Its peer streams.
    pub peers: SocketAddr,
    /// Its network namespace, if it has its own.
    pub space: Option<String>,
    /// Its process id; `None` while it is down.
    pub pid: Option<u32>,
}

// === impl ReplicaSpot ===

impl ReplicaSpot {
    /// Chooses addresses for the replica with this number, in this zone.
    ///
    /// # Errors
    /// [`TestbedError::Ports`].
    pub(super) fn choose(index: usize, zone: String, ports: &mut Ports) -> Result<Self, TestbedError> {
        Ok(Self {
            name: format!("replica-{index}"),
            zone,
            ext_proc: ports.free()?,
            health: ports.free()?,
            admin: ports.free()?,
            gossip: ports.free()?,
            peers: ports.free()?,
            space: None,
            pid: None,
        })
    }

    /// The same ports at the address of its own network namespace.
    pub(super) fn moved(self, to: std::net::IpAddr, space: String) -> Self {
        let at = |address: SocketAddr| SocketAddr::new(to, address.port());
        let (ext_proc, health, admin) = (at(self.ext_proc), at(self.health), at(self.admin));
        let (gossip, peers) = (at(self.gossip), at(self.peers));
        Self { ext_proc, health, admin, gossip, peers, space: Some(space), ..self }
    }

    /// Starts the replica at these addresses and does not wait for it.
    ///
    /// # Errors
    /// [`TestbedError::Spawn`].
    pub(super) fn start(&mut self, spawner: &Spawner) -> Result<Process, TestbedError> {
        let mut command = itself::command(&spawner.program, "serve", self.space.as_deref());
        command.arg("--config-file").arg(&spawner.config);
        command.args(["--bind", &self.ext_proc.ip().to_string()]);
        command.args(["--grpc-port", &self.ext_proc.port().to_string()]);
        command.args(["--grpc-health-port", &self.health.port().to_string()]);
        command.args(["--metrics-port", &self.admin.port().to_string()]);
        let response_path = match spawner.response_path {
            ResponsePath::Stay => "stay",
            ResponsePath::Leave => "leave",
        };
        command.args(["--response-path", response_path, "--pool-name", "testbed", "--log-format", "text"]);
        command.arg("--exit-with-stdin");
        if self.space.is_some() {
            // The watcher is in another network, and only this machine reaches both.
            command.args(["--debug-pages", "anyone"]);
        }
        if let Some(replication) = &spawner.replication {
            replication.add_flags(&mut command, &self.name, self.gossip, self.peers);
            command.args(["--zone", &self.zone]);
        }
        let process = Process::start(&self.name, command, &spawner.run.join(format!("{}.log", self.name)))?;
        self.pid = process.pid();
        Ok(process)
    }

    /// Waits until the replica reports that it is ready.
    ///
    /// # Errors
    /// [`TestbedError::Ended`], [`TestbedError::Late`].
    pub(super) async fn ready(&self, process: &mut Process) -> Result<(), TestbedError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            process.still_lives()?;
            if client::fetch(self.admin, "/readyz").await.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(process.late(&format!("is not ready (http://{}/readyz)", self.admin), PATIENCE));
            }
            sleep(CHECK_EVERY).await;
        }
    }
}
