//! Injects the faults of a plan into a testbed, and undoes them.
//!
//! Must not know when; `run` decides that. Faults that real processes can't have never get here (`obstacles`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::rules::{Map, rules};
use super::watch::{open_requests, read};
use crate::local::{Testbed, TestbedError};
use murmuration_engine_sim::http::EngineFault;
use murmuration_simulation::plan::{Discovery, Fault, Plan};

/// How long a draining replica may take to exit; then it is killed.
const LEAVING_MAX: Duration = Duration::from_secs(12);
/// Interval between two checks of a draining replica.
const CHECK_EVERY: Duration = Duration::from_millis(50);

/// A fault as it was injected.
#[derive(Clone, Debug)]
pub(super) struct Injection {
    /// Its index in the plan.
    pub(super) index: usize,
    pub(super) fault: Fault,
    pub(super) began: Duration,
    /// When it was undone.
    pub(super) ended: Duration,
    /// The replicas that it affected.
    pub(super) replicas: Vec<usize>,
    /// Processes that it killed.
    pub(super) killed: usize,
    /// What these held: ext-proc streams of replicas, requests of engines.
    pub(super) held: u64,
}

/// Injects faults into a testbed, and records them.
#[derive(Debug)]
pub(super) struct FaultInjector<'t> {
    testbed: &'t mut Testbed,
    plan: &'t Plan,
    started: Instant,
    away: watch::Sender<BTreeSet<usize>>,
    faults: BTreeMap<usize, Fault>,
    map: Option<Map>,
    pub(super) injections: Vec<Injection>,
    /// Where the run deviated from the plan.
    pub(super) notes: BTreeSet<String>,
}

// === impl FaultInjector ===

impl<'t> FaultInjector<'t> {
    pub(super) fn new(
        testbed: &'t mut Testbed,
        plan: &'t Plan,
        started: Instant,
        away: watch::Sender<BTreeSet<usize>>,
    ) -> Self {
        let map = testbed.network().map(|network| {
            let replicas = testbed.replicas.iter().map(|one| (one.name.clone(), one.admin.ip()));
            let engines = testbed.engines.iter().map(|one| (one.name.clone(), one.address.ip()));
            Map { hosts: replicas.chain(engines).collect(), gateway: network.gateway() }
        });
        let (faults, injections, notes) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
        Self { testbed, plan, started, away, faults, map, injections, notes }
    }

    /// Injects the plan's fault with this index.
    ///
    /// # Errors
    /// Why the fault could not be injected.
    pub(super) async fn begin(&mut self, index: usize) -> Result<(), TestbedError> {
        let fault = self.plan.faults[index].fault.clone();
        let replicas: Vec<usize> = fault.places().iter().flat_map(|place| place.replicas(&self.plan.cluster)).collect();
        self.faults.insert(index, fault.clone());
        let (killed, held) = self.held(&fault, &replicas).await;
        let began = self.started.elapsed();
        self.injections.push(Injection {
            index,
            fault: fault.clone(),
            began,
            ended: began,
            replicas: replicas.clone(),
            killed,
            held,
        });
        self.inject(&fault, &replicas).await
    }

    /// How many processes `fault` is about to kill, and how many requests they hold.
    async fn held(&self, fault: &Fault, replicas: &[usize]) -> (usize, u64) {
        let mut held = 0;
        match fault {
            Fault::Kill { .. } => {
                for replica in replicas {
                    let reading = read(self.started, *replica, self.testbed.replicas[*replica].admin).await;
                    held += reading.map_or(0, |reading| reading.streams as u64);
                }
                (replicas.len(), held)
            }
            Fault::EngineKill { who } => {
                let engines = who.engines(&self.plan.cluster);
                for engine in &engines {
                    held += open_requests(self.testbed.engines[*engine].address).await.unwrap_or(0);
                }
                (engines.len(), held)
            }
            _ => (0, 0),
        }
    }

    async fn inject(&mut self, fault: &Fault, replicas: &[usize]) -> Result<(), TestbedError> {
        match fault {
            Fault::Kill { .. } | Fault::Freeze { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } => {
                self.away.send_modify(|away| away.extend(replicas));
            }
            _ => {}
        }
        for &replica in replicas {
            match fault {
                Fault::Kill { .. } => self.testbed.kill_replica(replica).await?,
                Fault::Freeze { .. } => self.testbed.signal_replica(replica, "STOP").await?,
                Fault::Drain { .. } | Fault::Upgrade { .. } => self.testbed.signal_replica(replica, "TERM").await?,
                _ => {}
            }
        }
        match fault {
            Fault::EngineKill { who } => {
                for engine in who.engines(&self.plan.cluster) {
                    self.testbed.kill_engine(engine).await?;
                }
                Ok(())
            }
            Fault::EngineSlow { .. } | Fault::EnginePage { .. } => self.engines().await,
            Fault::Reload { .. } => self.announce(),
            Fault::Discovery { says: Discovery::Empty } => self.testbed.announce(Some(&[])),
            Fault::Discovery { says: Discovery::Silent } => self.testbed.announce(None),
            Fault::Discovery { says: Discovery::Flap } => {
                let even: Vec<usize> = (0..self.plan.cluster.engines).step_by(2).collect();
                self.testbed.announce(Some(&even))
            }
            Fault::Discovery { says: Discovery::Old } => self.announce(),
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } => self.network(),
            _ => Ok(()),
        }
    }

    /// Undoes the fault with this index.
    ///
    /// # Errors
    /// Why the fault could not be undone.
    pub(super) async fn end(&mut self, index: usize) -> Result<(), TestbedError> {
        let Some(fault) = self.faults.remove(&index) else { return Ok(()) };
        let Some(place) = self.injections.iter().position(|injection| injection.index == index) else { return Ok(()) };
        for replica in self.injections[place].replicas.clone() {
            match fault {
                Fault::Freeze { .. } => self.testbed.signal_replica(replica, "CONT").await?,
                Fault::Kill { .. } | Fault::Drain { .. } | Fault::Upgrade { .. } => self.restart(replica).await?,
                _ => continue,
            }
            self.away.send_modify(|away| away.retain(|one| *one != replica));
        }
        match &fault {
            Fault::EngineKill { who } => {
                for engine in who.engines(&self.plan.cluster) {
                    self.testbed.restart_engine(engine).await?;
                }
                self.engines().await?;
            }
            Fault::EngineSlow { .. } | Fault::EnginePage { .. } => self.engines().await?,
            Fault::Discovery { .. } => self.announce()?,
            Fault::Cut { .. } | Fault::Loss { .. } | Fault::Delay { .. } => self.network()?,
            _ => {}
        }
        self.injections[place].ended = self.started.elapsed();
        Ok(())
    }

    /// Restarts a replica once its process is gone; kills one that takes longer than [`LEAVING_MAX`].
    async fn restart(&mut self, replica: usize) -> Result<(), TestbedError> {
        let began = Instant::now();
        while self.testbed.replica_lives(replica) {
            if began.elapsed() > LEAVING_MAX {
                self.notes.insert(format!("replica-{replica} did not leave in {LEAVING_MAX:?} and was killed"));
                self.testbed.kill_replica(replica).await?;
                break;
            }
            sleep(CHECK_EVERY).await;
        }
        self.testbed.start_replica(replica)
    }

    /// Sends every running engine the faults that are in force for it.
    async fn engines(&self) -> Result<(), TestbedError> {
        for engine in 0..self.testbed.engines.len() {
            let mut fault = EngineFault::default();
            for one in self.faults.values() {
                match one {
                    Fault::EngineSlow { who, factor } if who.engines(&self.plan.cluster).contains(&engine) => {
                        fault.slow *= factor;
                    }
                    Fault::EnginePage { who, page } if who.engines(&self.plan.cluster).contains(&engine) => {
                        fault.page = Some(*page);
                    }
                    _ => {}
                }
            }
            if self.testbed.engines[engine].pid.is_some() {
                self.testbed.fault_engine(engine, fault).await?;
            }
        }
        Ok(())
    }

    fn announce(&self) -> Result<(), TestbedError> {
        let all: Vec<usize> = (0..self.testbed.engines.len()).collect();
        self.testbed.announce(Some(&all))
    }

    fn network(&self) -> Result<(), TestbedError> {
        let Some(map) = &self.map else { return Ok(()) };
        let faults: Vec<&Fault> = self.faults.values().collect();
        for (host, rules) in rules(&faults, &self.plan.cluster, map) {
            self.testbed.rule(&host, &rules.text(), &rules.delays)?;
        }
        Ok(())
    }
}
