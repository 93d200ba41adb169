//! The town's replicas: `murmuration serve`, with TLS and its defaults as in production, on loopback.
//!
//! Must not know engines or Envoy.

use std::net::SocketAddr;
use std::path::Path;

use murmuration_actors::admin::client;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

use super::args::ResponsePath;
use super::ports::Ports;
use super::process::Process;
use super::{PATIENCE, TownError, itself};

/// From one look at a replica's readiness to the next.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One replica of the town.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReplicaSpot {
    /// Its name.
    pub name: String,
    /// Its ext-proc service, over TLS.
    pub ext_proc: SocketAddr,
    /// Its gRPC health service.
    pub health: SocketAddr,
    /// Its metrics and debug pages.
    pub admin: SocketAddr,
    /// Its process; `None` while it is dead.
    pub pid: Option<u32>,
}

// === impl ReplicaSpot ===

impl ReplicaSpot {
    /// A place for the replica with this number.
    ///
    /// # Errors
    /// [`TownError::Ports`].
    pub(super) fn choose(index: usize, ports: &mut Ports) -> Result<Self, TownError> {
        let name = format!("replica-{index}");
        Ok(Self { name, ext_proc: ports.free()?, health: ports.free()?, admin: ports.free()?, pid: None })
    }

    /// Starts the replica at this place and does not wait for it.
    ///
    /// # Errors
    /// [`TownError::Spawn`].
    pub(super) fn start(
        &mut self,
        program: &Path,
        config: &Path,
        response_path: ResponsePath,
        run: &Path,
    ) -> Result<Process, TownError> {
        let mut command = itself::command(program, "serve");
        command.arg("--config-file").arg(config);
        command.args(["--bind", &self.ext_proc.ip().to_string()]);
        command.args(["--grpc-port", &self.ext_proc.port().to_string()]);
        command.args(["--grpc-health-port", &self.health.port().to_string()]);
        command.args(["--metrics-port", &self.admin.port().to_string()]);
        let response_path = match response_path {
            ResponsePath::Stay => "stay",
            ResponsePath::Leave => "leave",
        };
        command.args(["--response-path", response_path, "--pool-name", "town", "--log-format", "text"]);
        command.arg("--exit-with-stdin");
        let process = Process::start(&self.name, command, &run.join(format!("{}.log", self.name)))?;
        self.pid = process.pid();
        Ok(process)
    }

    /// Waits until the replica says that it is ready.
    ///
    /// # Errors
    /// [`TownError::Ended`], [`TownError::Late`].
    pub(super) async fn ready(&self, process: &mut Process) -> Result<(), TownError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            process.still_lives()?;
            if client::fetch(self.admin, "/readyz").await.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(process.late(&format!("is not ready (http://{}/readyz)", self.admin), PATIENCE));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}
