//! What storms do to a testbed besides killing: signals, engine faults, the list of endpoints, and network rules.
//!
//! Must not know plans. None of these waits until the testbed has recovered.

use std::fs;
use std::net::IpAddr;

use super::{Network, Testbed, TestbedError, engines};
use murmuration_engine_sim::http::EngineFault;
use murmuration_kit::client::Client;
use murmuration_kit::pool;

impl Testbed {
    /// Sends a signal, such as `STOP`, `CONT` or `TERM`, to a replica.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`] when it is down.
    pub async fn signal_replica(&mut self, index: usize, signal: &'static str) -> Result<(), TestbedError> {
        let process = self.replica_processes.get(index).and_then(Option::as_ref);
        let pid = process.and_then(|process| process.pid());
        let none = TestbedError::NoSuch { kind: "replica", index, injection: "signalled" };
        let Some(pid) = pid else { return Err(none) };
        let mut kill = tokio::process::Command::new("sh");
        kill.args(["-c", &format!("kill -{signal} {pid}")]);
        match kill.status().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(none),
        }
    }

    /// Whether a replica's process runs. A process that has ended is dropped.
    pub fn replica_lives(&mut self, index: usize) -> bool {
        let Some(slot) = self.replica_processes.get_mut(index) else { return false };
        let lives = slot.as_mut().is_some_and(|process| process.end().is_none());
        if !lives {
            *slot = None;
            self.replicas[index].pid = None;
        }
        lives
    }

    /// Restarts a replica that is down and does not wait for it.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`], [`TestbedError::Spawn`].
    pub fn start_replica(&mut self, index: usize) -> Result<(), TestbedError> {
        let none = TestbedError::NoSuch { kind: "replica", index, injection: "started again" };
        let spot = self.replicas.get_mut(index).ok_or(none)?;
        self.replica_processes[index] = Some(spot.start(&self.spawner)?);
        Ok(())
    }

    /// Sets the fault of an emulated engine from now on.
    ///
    /// # Errors
    /// [`TestbedError::Engine`] when it does not accept it.
    pub async fn fault_engine(&self, index: usize, fault: EngineFault) -> Result<(), TestbedError> {
        let spot =
            self.engines.get(index).ok_or(TestbedError::NoSuch { kind: "engine", index, injection: "faulted" })?;
        let fail = |why: String| TestbedError::Engine { url: format!("http://{}", spot.engine), why };
        let body = serde_json::to_string(&fault).map_err(|why| fail(why.to_string()))?;
        let answer = Client::new(spot.engine).post("/chaos", body, &[]).await.map_err(|why| fail(why.to_string()))?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(fail(format!("it answers {} to /chaos; is it a real one?", answer.status))),
        }
    }

    /// Writes the list of endpoints that discovery reads, with these engines; `None` removes it.
    ///
    /// # Errors
    /// [`TestbedError::File`].
    pub fn announce(&self, engines: Option<&[usize]>) -> Result<(), TestbedError> {
        let path = self.run.join("endpoints.json");
        let Some(engines) = engines else {
            return fs::remove_file(&path).map_err(TestbedError::file("remove the list of endpoints"));
        };
        let spots = engines.iter().filter_map(|index| self.engines.get(*index));
        pool::replace(&path, &engines::listed(spots)).map_err(TestbedError::file("replace the list of endpoints"))
    }

    /// The networks of its parts, if they have their own.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// Sets what the host called `name` drops (nft rules) and delays (address, least and spread in milliseconds).
    ///
    /// # Errors
    /// [`TestbedError::Network`].
    pub fn rule(&self, name: &str, rules: &str, delays: &[(IpAddr, u64, u64)]) -> Result<(), TestbedError> {
        self.network.as_ref().map_or(Ok(()), |network| network.rule(name, rules, delays))
    }
}
