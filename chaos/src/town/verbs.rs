//! What storms do to a town beside killing: signals, faults of engines, the list of endpoints, and rules of its network.
//!
//! Must not know plans. None of these waits for the town to be well again.

use std::fs;
use std::net::IpAddr;

use super::{Network, Town, TownError, engines, pool_config};
use crate::client::Client;
use crate::engine::http::EngineFault;

impl Town {
    /// Sends a signal, such as `STOP`, `CONT` or `TERM`, to a replica.
    ///
    /// # Errors
    /// [`TownError::NoSuch`] when it is dead.
    pub async fn signal_replica(&mut self, index: usize, signal: &'static str) -> Result<(), TownError> {
        let process = self.replica_processes.get(index).and_then(Option::as_ref);
        let pid = process.and_then(|process| process.pid());
        let none = TownError::NoSuch { kind: "replica", index, deed: "signalled" };
        let Some(pid) = pid else { return Err(none) };
        let mut kill = tokio::process::Command::new("sh");
        kill.args(["-c", &format!("kill -{signal} {pid}")]);
        match kill.status().await {
            Ok(status) if status.success() => Ok(()),
            _ => Err(none),
        }
    }

    /// Whether a replica's process lives. One that has ended is let go of.
    pub fn replica_lives(&mut self, index: usize) -> bool {
        let Some(slot) = self.replica_processes.get_mut(index) else { return false };
        let lives = slot.as_mut().is_some_and(|process| process.end().is_none());
        if !lives {
            *slot = None;
            self.replicas[index].pid = None;
        }
        lives
    }

    /// Starts a dead replica again and does not wait for it.
    ///
    /// # Errors
    /// [`TownError::NoSuch`], [`TownError::Spawn`].
    pub fn revive_replica(&mut self, index: usize) -> Result<(), TownError> {
        let none = TownError::NoSuch { kind: "replica", index, deed: "started again" };
        let spot = self.replicas.get_mut(index).ok_or(none)?;
        self.replica_processes[index] = Some(spot.start(&self.rearing)?);
        Ok(())
    }

    /// Says what is wrong with an emulated engine from now on.
    ///
    /// # Errors
    /// [`TownError::Engine`] when it does not take it.
    pub async fn fault_engine(&self, index: usize, fault: EngineFault) -> Result<(), TownError> {
        let spot = self.engines.get(index).ok_or(TownError::NoSuch { kind: "engine", index, deed: "struck" })?;
        let fail = |why: String| TownError::Engine { url: format!("http://{}", spot.address), why };
        let body = serde_json::to_string(&fault).map_err(|why| fail(why.to_string()))?;
        let told = Client::new(spot.address).post("/chaos", body, &[]).await.map_err(|why| fail(why.to_string()))?;
        match told.status.is_success() {
            true => Ok(()),
            false => Err(fail(format!("it answers {} to /chaos; is it a real one?", told.status))),
        }
    }

    /// Writes the list of endpoints, as discovery, with these engines; `None` takes it away.
    ///
    /// # Errors
    /// [`TownError::File`].
    pub fn announce(&self, engines: Option<&[usize]>) -> Result<(), TownError> {
        let path = self.run.join("endpoints.json");
        let Some(engines) = engines else {
            return fs::remove_file(&path).map_err(TownError::file("take the list of endpoints away"));
        };
        let spots = engines.iter().filter_map(|index| self.engines.get(*index));
        let listed = spots.map(|one| (one.name.as_str(), one.address.ip().to_string(), one.address.port()));
        // Written beside and moved: no replica reads half of it.
        let beside = self.run.join("endpoints.json.new");
        fs::write(&beside, pool_config::endpoints_file(listed))
            .map_err(TownError::file("write the list of endpoints"))?;
        fs::rename(&beside, &path).map_err(TownError::file("put the list of endpoints in its place"))
    }

    /// The networks of its parts, where they have any.
    pub fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// What the host called `name` drops (rules of nft) and sends late (address, least and spread in milliseconds).
    ///
    /// # Errors
    /// [`TownError::Network`].
    pub fn rule(&self, name: &str, rules: &str, delays: &[(IpAddr, u64, u64)]) -> Result<(), TownError> {
        self.network.as_ref().map_or(Ok(()), |network| network.rule(name, rules, delays))
    }

    /// Where an engine is started: its program, name and place.
    pub(super) async fn start_engine(&self, index: usize) -> Result<(super::EngineSpot, super::Process), TownError> {
        let spot = &self.engines[index];
        let space = self.network.as_ref().map(|network| network.space(&spot.name));
        let place = engines::EnginePlace { address: spot.address, space };
        engines::start(&self.rearing.program, &spot.name, &self.model, &place, &self.run).await
    }
}
