//! Does to a town what a plan says, and undoes it.
//!
//! Must not know when; `run` tells. What can't be done to real processes is not given to it (`obstacles`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::rules::{Map, rules};
use super::watch::read;
use crate::engine::http::EngineFault;
use crate::plan::{Discovery, Fault, Plan};
use crate::town::{Town, TownError};

/// How long a replica that was told to leave may take; then it is killed.
const LEAVING_MAX: Duration = Duration::from_secs(12);
/// From one look at a replica that leaves to the next.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A fault as it was done.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    /// Its place in the plan.
    pub(super) index: usize,
    pub(super) fault: Fault,
    pub(super) began: Duration,
    /// When it was undone.
    pub(super) ended: Duration,
    /// Replicas that were struck.
    pub(super) replicas: Vec<usize>,
    /// ext-proc streams that a killed replica held.
    pub(super) held: u64,
}

/// What has hands on a town.
#[derive(Debug)]
pub(super) struct Hands<'t> {
    town: &'t mut Town,
    plan: &'t Plan,
    started: Instant,
    away: watch::Sender<BTreeSet<usize>>,
    faults: BTreeMap<usize, Fault>,
    map: Option<Map>,
    pub(super) deeds: Vec<Deed>,
    /// What went otherwise than the plan says.
    pub(super) notes: BTreeSet<String>,
}

// === impl Hands ===

impl<'t> Hands<'t> {
    pub(super) fn new(
        town: &'t mut Town,
        plan: &'t Plan,
        started: Instant,
        away: watch::Sender<BTreeSet<usize>>,
    ) -> Self {
        let map = town.network().map(|network| {
            let replicas = town.replicas.iter().map(|one| (one.name.clone(), one.admin.ip()));
            let engines = town.engines.iter().map(|one| (one.name.clone(), one.address.ip()));
            Map { hosts: replicas.chain(engines).collect(), gateway: network.gateway() }
        });
        let (faults, deeds, notes) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { town, plan, started, away, faults, map, deeds, notes }
    }

    /// Does the plan's fault of this index.
    ///
    /// # Errors
    /// Why the town could not be struck.
    pub(super) async fn begin(&mut self, index: usize) -> Result<(), TownError> {
        let fault = self.plan.faults[index].fault.clone();
        let replicas: Vec<usize> = fault.places().iter().flat_map(|place| place.replicas(&self.plan.town)).collect();
        self.faults.insert(index, fault.clone());
        let mut held = 0;
        for replica in &replicas {
            if matches!(fault, Fault::Kill { .. }) {
                let reading = read(self.started, *replica, self.town.replicas[*replica].admin).await;
                held += reading.map_or(0, |reading| reading.streams as u64);
            }
        }
        let began = self.started.elapsed();
        self.deeds.push(Deed { index, fault: fault.clone(), began, ended: began, replicas: replicas.clone(), held });
        self.strike(&fault, &replicas).await
    }

    async fn strike(&mut self, fault: &Fault, replicas: &[usize]) -> Result<(), TownError> {
        match fault {
            Fault::Kill { .. } | Fault::Freeze { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } => {
                self.away.send_modify(|away| away.extend(replicas));
            }
            _ => {}
        }
        for &replica in replicas {
            match fault {
                Fault::Kill { .. } => self.town.kill_replica(replica).await?,
                Fault::Freeze { .. } => self.town.signal_replica(replica, "STOP").await?,
                Fault::Drain { .. } | Fault::Upgrade { .. } => self.town.signal_replica(replica, "TERM").await?,
                _ => {}
            }
        }
        match fault {
            Fault::EngineKill { who } => {
                for engine in who.engines(&self.plan.town) {
                    self.town.kill_engine(engine).await?;
                }
                Ok(())
            }
            Fault::EngineSlow { .. } | Fault::EnginePage { .. } => self.engines().await,
            Fault::Reload { .. } => self.announce(),
            Fault::Discovery { says: Discovery::Empty } => self.town.announce(Some(&[])),
            Fault::Discovery { says: Discovery::Silent } => self.town.announce(None),
            Fault::Discovery { says: Discovery::Flap } => {
                let even: Vec<usize> = (0..self.plan.town.engines).step_by(2).collect();
                self.town.announce(Some(&even))
            }
            Fault::Discovery { says: Discovery::Old } => self.announce(),
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } => self.network(),
            _ => Ok(()),
        }
    }

    /// Undoes it.
    ///
    /// # Errors
    /// Why the town could not be mended.
    pub(super) async fn end(&mut self, index: usize) -> Result<(), TownError> {
        let Some(fault) = self.faults.remove(&index) else { return Ok(()) };
        let Some(place) = self.deeds.iter().position(|deed| deed.index == index) else { return Ok(()) };
        for replica in self.deeds[place].replicas.clone() {
            match fault {
                Fault::Freeze { .. } => self.town.signal_replica(replica, "CONT").await?,
                Fault::Kill { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } => self.revive(replica).await?,
                _ => continue,
            }
            self.away.send_modify(|away| away.retain(|one| *one != replica));
        }
        match &fault {
            Fault::EngineKill { who } => {
                for engine in who.engines(&self.plan.town) {
                    self.town.restart_engine(engine).await?;
                }
                self.engines().await?;
            }
            Fault::EngineSlow { .. } | Fault::EnginePage { .. } => self.engines().await?,
            Fault::Discovery { .. } => self.announce()?,
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } => self.network()?,
            _ => {}
        }
        self.deeds[place].ended = self.started.elapsed();
        Ok(())
    }

    /// Starts a replica again once it is gone.
    async fn revive(&mut self, replica: usize) -> Result<(), TownError> {
        let began = Instant::now();
        while self.town.replica_lives(replica) {
            if began.elapsed() > LEAVING_MAX {
                self.notes.insert(format!("replica-{replica} did not leave in {LEAVING_MAX:?} and was killed"));
                self.town.kill_replica(replica).await?;
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        self.town.revive_replica(replica)
    }

    /// Tells every engine what is wrong with it now.
    async fn engines(&self) -> Result<(), TownError> {
        for engine in 0..self.town.engines.len() {
            let mut fault = EngineFault::default();
            for one in self.faults.values() {
                match one {
                    Fault::EngineSlow { who, factor } if who.engines(&self.plan.town).contains(&engine) => {
                        fault.slow *= factor;
                    }
                    Fault::EnginePage { who, page } if who.engines(&self.plan.town).contains(&engine) => {
                        fault.page = Some(*page);
                    }
                    _ => {}
                }
            }
            if self.town.engines[engine].pid.is_some() {
                self.town.fault_engine(engine, fault).await?;
            }
        }
        Ok(())
    }

    fn announce(&self) -> Result<(), TownError> {
        let all: Vec<usize> = (0..self.town.engines.len()).collect();
        self.town.announce(Some(&all))
    }

    fn network(&self) -> Result<(), TownError> {
        let Some(map) = &self.map else { return Ok(()) };
        let faults: Vec<&Fault> = self.faults.values().collect();
        for (host, rules) in rules(&faults, &self.plan.town, map) {
            self.town.rule(&host, &rules.text(), &rules.delays)?;
        }
        Ok(())
    }
}
