//! The sidecars of a testbed: `murmuration sidecar`, one beside each engine that decodes.
//!
//! Must not know pickers. The pool finds the engine at its sidecar's address.

use std::net::SocketAddr;
use std::path::Path;

use murmuration_actors::admin::client;
use serde::Serialize;
use tokio::time::{Duration, Instant, sleep};

use super::args::OnPrefillFailure;
use super::ports::Ports;
use super::process::Process;
use super::{PATIENCE, TestbedError, itself};

/// Interval between two checks of a sidecar's readiness.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// One sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SidecarSpot {
    /// Its name.
    pub name: String,
    /// Where it takes requests for its engine.
    pub address: SocketAddr,
    /// Its metrics.
    pub metrics: SocketAddr,
    /// Its process id; `None` while it is down.
    pub pid: Option<u32>,
}

/// What all sidecars of a testbed are started with.
#[derive(Clone, Debug)]
pub(super) struct SidecarPlan {
    /// The engines that headers may name: those that prefill and those that encode.
    pub(super) targets: Vec<SocketAddr>,
    /// Whether there are engines that encode.
    pub(super) encodes: bool,
    /// What becomes of a request that no prefill engine serves.
    pub(super) on_prefill_failure: OnPrefillFailure,
}

// === impl SidecarSpot ===

impl SidecarSpot {
    /// Chooses addresses for the sidecar with this number.
    ///
    /// # Errors
    /// [`TestbedError::Ports`].
    pub(super) fn choose(index: usize, ports: &mut Ports) -> Result<Self, TestbedError> {
        Ok(Self { name: format!("sidecar-{index}"), address: ports.free()?, metrics: ports.free()?, pid: None })
    }

    /// Starts it in front of the engine at `engine`, and waits until it serves. `program` is the testbed's.
    ///
    /// # Errors
    /// [`TestbedError::Spawn`], [`TestbedError::Ended`], [`TestbedError::Late`].
    pub(super) async fn start(
        &mut self,
        program: &Path,
        engine: SocketAddr,
        plan: &SidecarPlan,
        run: &Path,
    ) -> Result<Process, TestbedError> {
        let mut command = itself::command(program, "sidecar", None);
        command.args(["--bind", &self.address.ip().to_string(), "--port", &self.address.port().to_string()]);
        command.args(["--metrics-port", &self.metrics.port().to_string()]);
        command.args(["--model-server-port", &engine.port().to_string(), "--secure-serving=false"]);
        let targets: Vec<String> = plan.targets.iter().map(SocketAddr::to_string).collect();
        command.args(["--allowed-targets", &targets.join(",")]);
        command.args(["--on-prefill-failure", plan.on_prefill_failure.word()]);
        if plan.encodes {
            command.args(["--ec-connector", "ec-example"]);
        }
        // Short: a testbed that ends waits for its answers.
        command.args(["--drain-timeout", "2s", "--log-format", "text", "--exit-with-stdin"]);
        let mut process = Process::start(&self.name, command, &run.join(format!("{}.log", self.name)))?;
        self.pid = process.pid();
        self.ready(&mut process).await?;
        Ok(process)
    }

    async fn ready(&self, process: &mut Process) -> Result<(), TestbedError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            process.still_lives()?;
            if client::fetch(self.address, "/health").await.is_ok_and(|(status, _)| status.is_success()) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(process.late(&format!("is not healthy (http://{}/health)", self.address), PATIENCE));
            }
            sleep(CHECK_EVERY).await;
        }
    }
}
