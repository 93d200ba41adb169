//! The running testbed: what is started, in what order, and how it ends.
//!
//! Must not know terminals. Storms use the same operations as people: kill, start again, stop.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use murmuration::plugin::Catalog;
use murmuration_kit::pool::with_endpoints;
use murmuration_simulation::plan::ResponsePath;

use super::args::Args;
use super::engines::{self, EnginePlan, EngineSpot};
use super::envoy_config::{EnvoyPlan, Picker};
use super::page::{self, Page};
use super::pool::{Pool, counted};
use super::ports::Ports;
use super::process::Process;
use super::replicas::{ReplicaSpot, Spawner};
use super::replication::ReplicationPlan;
use super::run_folder::RunFolder;
use super::{Network, TestbedError, envoy, envoy_fetch, itself};
use crate::check::ReplicaAccess;

/// The default port where requests enter.
const PORT: u16 = 8080;
/// The configurations of tiers whose engines have roles, unless another one is given.
const PAIR: &str = include_str!("../../../../deploy/config/pair.yaml");
const ZONES: &str = include_str!("../../../../deploy/config/zones.yaml");
const ENCODE_PAIR: &str = include_str!("../../../../deploy/config/encode-prefill-decode.yaml");

/// The number of the first replica's host, where each has its own network.
const REPLICA_HOSTS: u8 = 10;
/// A running tier. Dropping it tells all its processes to end; [`Testbed::stop`] also waits for that.
#[derive(Debug)]
pub struct Testbed {
    /// Where requests enter that pass a picker.
    pub public: SocketAddr,
    /// Where requests enter that take the engines in turn, without a picker.
    pub direct: SocketAddr,
    /// Where requests enter that pass a server of `--foreign-ext-proc`, in the order of the flags.
    pub foreign: Vec<SocketAddr>,
    /// The model that all engines serve.
    pub model: String,
    /// The engines.
    pub engines: Vec<EngineSpot>,
    /// The replicas.
    pub replicas: Vec<ReplicaSpot>,
    /// Envoy's admin pages.
    pub envoy_admin: SocketAddr,
    /// The page for people.
    pub page: SocketAddr,
    /// Logs and generated files.
    pub run: PathBuf,
    pub(super) spawner: Spawner,
    pub(super) engine_plans: Vec<EnginePlan>,
    engine_processes: Vec<Option<Process>>,
    sidecar_processes: Vec<Option<Process>>,
    pub(super) replica_processes: Vec<Option<Process>>,
    envoy: Process,
    _page: Page,
    /// Dropped last: no process uses it any more.
    pub(super) network: Option<Network>,
}

// === impl Testbed ===

impl Testbed {
    /// Starts a testbed and returns when Envoy reports every replica as healthy. `tell` gets a line before each step.
    ///
    /// # Errors
    /// Why it can't start; then no process of it stays.
    pub async fn start(args: &Args, tell: &mut (dyn FnMut(&str) + Send)) -> Result<Self, TestbedError> {
        let program = itself::program(args.program.as_deref())?;
        let run_folder = RunFolder::prepare(args.dir.as_deref())?;
        let mut ports = Ports::for_new_testbed();
        // Wrong usage is reported before anything is fetched or started.
        let public = ports.this_or_free(args.port.unwrap_or(if args.check { 0 } else { PORT }))?;
        let endpoints = run_folder.run.join("endpoints.json");
        let config = run_folder.write("pool.json", &config(args, &endpoints)?)?;
        let envoy_program = envoy_fetch::find(args.envoy.as_deref(), &run_folder.lasting, tell).await?;

        let mut network = args.own_networks.then(Network::make).transpose()?;
        let pool = Pool::start(args, &program, &run_folder.run, network.as_mut(), &mut ports, tell).await?;
        let Pool { spots: engines, engines: engine_processes, plans: engine_plans, sidecars, model } = pool;
        run_folder.write("endpoints.json", &engines::listed(&engines))?;

        tell(&format!("starting {}", counted(usize::from(args.replicas), "replica")));
        let mut replicas = places(args, &mut ports, network.as_mut())?;
        let seeds = replicas.iter().map(|replica| replica.gossip).collect();
        let replication = ReplicationPlan::make(args.sharing, seeds, &run_folder.run)?;
        let spawner =
            Spawner { program, config, response_path: args.response_path, run: run_folder.run.clone(), replication };
        let replica_processes = start_replicas(&mut replicas, &spawner).await?;

        tell("starting Envoy, which looks for healthy replicas");
        let mut foreign = Vec::with_capacity(args.foreign_ext_proc.len());
        for server in &args.foreign_ext_proc {
            foreign.push((ports.free()?, *server));
        }
        let plan = EnvoyPlan {
            public,
            direct: ports.free()?,
            foreign,
            shows_answers: args.response_path == ResponsePath::Stay,
            admin: ports.free()?,
            pickers: replicas.iter().map(|one| Picker { ext_proc: one.ext_proc, health: one.health }).collect(),
            destinations: engines.iter().filter(|one| one.is_entrance()).map(|one| one.address).collect(),
            engines: engines.iter().filter(|one| one.is_entrance()).map(|one| one.engine).collect(),
        };
        let envoy = envoy::start(&envoy_program, &plan, &run_folder).await?;
        let watched = page::Watched { engines: engines.clone(), replicas: replicas.clone(), envoy: plan.admin, public };
        let page = Page::open(watched, ports.free()?).await?;
        Ok(Self {
            public,
            direct: plan.direct,
            foreign: plan.foreign.iter().map(|(entrance, _)| *entrance).collect(),
            model,
            engines,
            replicas,
            envoy_admin: plan.admin,
            page: page.address,
            run: run_folder.run,
            spawner,
            engine_plans,
            engine_processes,
            sidecar_processes: sidecars,
            replica_processes,
            envoy,
            _page: page,
            network,
        })
    }

    /// Stops everything and waits until it is gone. Returns the names of those that had to be killed.
    pub async fn stop(mut self) -> Vec<String> {
        let Self { envoy, replica_processes, sidecar_processes, engine_processes, .. } = &mut self;
        let rest = replica_processes.iter_mut().chain(sidecar_processes).chain(engine_processes);
        let rest = rest.filter_map(Option::as_mut).map(|one| (one.name().to_owned(), one));
        // The proxy first, so that it sends nothing to a process that is gone.
        let mut all: Vec<(String, &mut Process)> = vec![("envoy".to_owned(), envoy)];
        all.extend(rest);
        all.iter_mut().for_each(|(_, process)| process.close_input());
        let mut killed = Vec::new();
        for (name, process) in all {
            if !process.gone().await {
                killed.push(name);
            }
        }
        killed
    }

    /// Kills a replica with SIGKILL.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`] when it is down already or does not exist.
    pub async fn kill_replica(&mut self, index: usize) -> Result<(), TestbedError> {
        let process = self.replica_processes.get_mut(index).and_then(Option::take);
        let mut process = process.ok_or(TestbedError::NoSuch { kind: "replica", index, injection: "killed" })?;
        process.kill().await;
        self.replicas[index].pid = None;
        Ok(())
    }

    /// Kills an emulated engine with SIGKILL.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`] when it is down already, does not exist, or is a real one.
    pub async fn kill_engine(&mut self, index: usize) -> Result<(), TestbedError> {
        let process = self.engine_processes.get_mut(index).and_then(Option::take);
        let mut process = process.ok_or(TestbedError::NoSuch { kind: "engine", index, injection: "killed" })?;
        process.kill().await;
        self.engines[index].pid = None;
        Ok(())
    }

    /// Restarts a replica at its old addresses; returns when Envoy reports all running replicas as healthy. A replica
    /// that still runs is killed first.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`], and why it can't start.
    pub async fn restart_replica(&mut self, index: usize) -> Result<(), TestbedError> {
        let Some(spot) = self.replicas.get_mut(index) else {
            return Err(TestbedError::NoSuch { kind: "replica", index, injection: "started again" });
        };
        if let Some(mut old) = self.replica_processes[index].take() {
            old.kill().await;
        }
        let mut process = spot.start(&self.spawner)?;
        spot.ready(&mut process).await?;
        self.replica_processes[index] = Some(process);
        let living: Vec<SocketAddr> =
            self.replicas.iter().filter(|one| one.pid.is_some()).map(|one| one.ext_proc).collect();
        envoy::all_healthy(self.envoy_admin, &living, &mut self.envoy).await
    }

    /// Restarts an engine at its old address; an engine that still runs is killed first.
    ///
    /// # Errors
    /// [`TestbedError::NoSuch`] for a real one or one that does not exist, and why it can't start.
    pub async fn restart_engine(&mut self, index: usize) -> Result<(), TestbedError> {
        if index >= self.engine_processes.len() {
            return Err(TestbedError::NoSuch { kind: "engine", index, injection: "started again" });
        }
        if let Some(mut old) = self.engine_processes[index].take() {
            old.kill().await;
        }
        let (_, process) = engines::start(&self.spawner.program, &self.engine_plans[index], &self.run).await?;
        self.engines[index].pid = process.pid();
        self.engine_processes[index] = Some(process);
        Ok(())
    }

    /// Names and exit statuses of processes that ended unexpectedly; each is returned once.
    pub fn newly_dead(&mut self) -> Vec<(String, String)> {
        let mut dead = Vec::new();
        let replicas = self.replicas.iter_mut().map(|one| (&one.name, &mut one.pid)).zip(&mut self.replica_processes);
        let engines = self.engines.iter_mut().map(|one| (&one.name, &mut one.pid)).zip(&mut self.engine_processes);
        for ((name, pid), process) in replicas.chain(engines) {
            if let Some(end) = process.as_mut().and_then(Process::end) {
                dead.push((name.clone(), end));
                (*pid, *process) = (None, None);
            }
        }
        let sidecars = self.engines.iter_mut().map(|one| &mut one.sidecar).zip(&mut self.sidecar_processes);
        for (sidecar, process) in sidecars {
            let (Some(sidecar), Some(end)) = (sidecar, process.as_mut().and_then(Process::end)) else { continue };
            dead.push((sidecar.name.clone(), end));
            (sidecar.pid, *process) = (None, None);
        }
        dead
    }

    /// How Envoy ended, if it has; the testbed can't work without it.
    pub fn envoy_end(&mut self) -> Option<TestbedError> {
        self.envoy.still_lives().err()
    }

    /// What `--check` must know of replication; `None` where nothing is shared.
    pub fn access_for_check(&self) -> Option<ReplicaAccess> {
        let plan = self.spawner.replication.as_ref()?;
        let ext_proc = self.replicas.iter().map(|replica| replica.ext_proc).collect();
        Some(ReplicaAccess { streams: plan.has_streams(), ext_proc, authority: plan.authority() })
    }

    /// The process id of Envoy's guard, which ends with Envoy.
    pub fn envoy_pid(&self) -> Option<u32> {
        self.envoy.pid()
    }
}

fn places(args: &Args, ports: &mut Ports, mut network: Option<&mut Network>) -> Result<Vec<ReplicaSpot>, TestbedError> {
    let mut spots = Vec::with_capacity(usize::from(args.replicas));
    for index in 0..usize::from(args.replicas) {
        let spot = ReplicaSpot::choose(index, args.zone_of(index), ports)?;
        spots.push(match network.as_deref_mut() {
            Some(network) => {
                let (address, space) =
                    (network.host(&spot.name, REPLICA_HOSTS + index as u8)?, network.space(&spot.name));
                spot.moved(address, space)
            }
            None => spot,
        });
    }
    Ok(spots)
}

/// Starts all replicas at once, then waits for each.
async fn start_replicas(spots: &mut [ReplicaSpot], spawner: &Spawner) -> Result<Vec<Option<Process>>, TestbedError> {
    let mut processes = Vec::new();
    for spot in spots.iter_mut() {
        processes.push(Some(spot.start(spawner)?));
    }
    for (spot, process) in spots.iter().zip(&mut processes) {
        if let Some(process) = process {
            spot.ready(process).await?;
        }
    }
    Ok(processes)
}

fn config(args: &Args, endpoints: &Path) -> Result<String, TestbedError> {
    let name = args.config_file.as_ref().map(|file| file.display().to_string());
    let text = name.as_ref().map(fs::read_to_string).transpose();
    let name = name.unwrap_or_else(|| "the default configuration".to_owned());
    let text = text.map_err(TestbedError::file(format!("read --config-file {name}")))?;
    let fitting = args.shape().map(|shape| if shape.encode > 0 { ENCODE_PAIR } else { PAIR });
    let fitting = fitting.or((args.zones > 1).then_some(ZONES));
    let text = text.as_deref().or(fitting);
    Ok(with_endpoints(text, &name, endpoints, &Catalog::builtin())?)
}

/// Interval between two checks of the processes, for callers that watch a testbed.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(500);
