//! The living town: what was started, in what order, and how it ends.
//!
//! Must not know terminals. Storms use the same verbs as people: kill, start again, stop.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Args, ResponsePath};
use super::engines::{self, EnginePlace, EngineSpot};
use super::envoy_config::{EnvoyPlan, Picker};
use super::ground::Ground;
use super::page::{self, Page};
use super::pool_config;
use super::ports::Ports;
use super::process::Process;
use super::replicas::{Rearing, ReplicaSpot};
use super::replication::ReplicationPlan;
use super::{Network, TownError, envoy, envoy_fetch, itself};
use crate::check::Replication;

/// Where requests enter, when nobody says otherwise.
const PORT: u16 = 8080;
/// The model of emulated engines, when nobody says otherwise.
const MODEL: &str = "tiny";

/// The number of the first replica's host, where each has a network of its own.
const REPLICA_HOSTS: u8 = 10;
/// The number of the first engine's host.
const ENGINE_HOSTS: u8 = 100;
/// Where an engine serves that has a network of its own.
const ENGINE_PORT: u16 = 8000;

/// A running tier. Dropped, everything it started is told to end; [`Town::stop`] also waits for that.
#[derive(Debug)]
pub struct Town {
    /// Where requests enter and meet a picker.
    pub public: SocketAddr,
    /// Where requests enter that take the engines in turn, past the pickers.
    pub direct: SocketAddr,
    /// Where requests pass the foreign ext-proc servers of `--foreign-ext-proc`, in their order.
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
    pub(super) rearing: Rearing,
    engine_processes: Vec<Option<Process>>,
    pub(super) replica_processes: Vec<Option<Process>>,
    envoy: Process,
    _page: Page,
    /// Goes last: nobody lives in it any more.
    pub(super) network: Option<Network>,
}

// === impl Town ===

impl Town {
    /// Starts a town and returns when Envoy calls every replica healthy. `tell` gets a line before each step.
    ///
    /// # Errors
    /// Why it can't be; then nothing of it stays.
    pub async fn start(args: &Args, tell: &mut (dyn FnMut(&str) + Send)) -> Result<Self, TownError> {
        let program = itself::program(args.program.as_deref())?;
        let ground = Ground::prepare(args.dir.as_deref())?;
        let mut ports = Ports::of_a_new_town();
        // What people get wrong is told before anything is fetched or started.
        let public = ports.this_or_free(args.port.unwrap_or(if args.check { 0 } else { PORT }))?;
        let endpoints = ground.run.join("endpoints.json");
        let config = ground.write("pool.json", &config(args, &endpoints)?)?;
        let envoy_program = envoy_fetch::find(args.envoy.as_deref(), &ground.lasting, tell).await?;

        let mut network = args.own_networks.then(Network::make).transpose()?;
        let (engines, engine_processes, model) = start_engines(args, &program, &ground, network.as_mut(), tell).await?;
        let listed = engines.iter().map(|one| (one.name.as_str(), one.address.ip().to_string(), one.address.port()));
        ground.write("endpoints.json", &pool_config::endpoints_file(listed))?;

        tell(&format!("starting {}", counted(args.replicas, "replica")));
        let mut replicas = places(args, &mut ports, network.as_mut())?;
        let seeds = replicas.iter().map(|replica| replica.gossip).collect();
        let replication = ReplicationPlan::make(args.sharing, seeds, &ground.run)?;
        let rearing =
            Rearing { program, config, response_path: args.response_path, run: ground.run.clone(), replication };
        let replica_processes = start_replicas(&mut replicas, &rearing).await?;

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
            engines: engines.iter().map(|engine| engine.address).collect(),
        };
        let envoy = envoy::start(&envoy_program, &plan, &ground).await?;
        let watched = page::Watched { engines: engines.clone(), replicas: replicas.clone(), envoy: plan.admin, public };
        let page = Page::open(watched).await?;
        Ok(Self {
            public,
            direct: plan.direct,
            foreign: plan.foreign.iter().map(|(entrance, _)| *entrance).collect(),
            model,
            engines,
            replicas,
            envoy_admin: plan.admin,
            page: page.address,
            run: ground.run,
            rearing,
            engine_processes,
            replica_processes,
            envoy,
            _page: page,
            network,
        })
    }

    /// Stops everything and waits until it is gone. Returns the names of those that had to be killed.
    pub async fn stop(mut self) -> Vec<String> {
        let Self { envoy, replica_processes, engine_processes, .. } = &mut self;
        let named = |kind: &'static str| move |(i, one)| (format!("{kind}-{i}"), one);
        let replicas = replica_processes.iter_mut().enumerate().map(named("replica"));
        let engines = engine_processes.iter_mut().enumerate().map(named("engine"));
        let rest = replicas.chain(engines).filter_map(|(name, one)| one.as_mut().map(|one| (name, one)));
        // Against the stream: the proxy first, so that nobody is asked who is gone.
        let mut all: Vec<(String, &mut Process)> = vec![("envoy".to_owned(), envoy)];
        all.extend(rest);
        all.iter_mut().for_each(|(_, process)| process.let_go());
        let mut stubborn = Vec::new();
        for (name, process) in all {
            if !process.gone().await {
                stubborn.push(name);
            }
        }
        stubborn
    }

    /// SIGKILL to a replica.
    ///
    /// # Errors
    /// [`TownError::NoSuch`] when it is dead already or never was.
    pub async fn kill_replica(&mut self, index: usize) -> Result<(), TownError> {
        let process = self.replica_processes.get_mut(index).and_then(Option::take);
        let mut process = process.ok_or(TownError::NoSuch { kind: "replica", index, deed: "killed" })?;
        process.kill().await;
        self.replicas[index].pid = None;
        Ok(())
    }

    /// SIGKILL to an emulated engine.
    ///
    /// # Errors
    /// [`TownError::NoSuch`] when it is dead already, never was, or is a real one.
    pub async fn kill_engine(&mut self, index: usize) -> Result<(), TownError> {
        let process = self.engine_processes.get_mut(index).and_then(Option::take);
        let mut process = process.ok_or(TownError::NoSuch { kind: "engine", index, deed: "killed" })?;
        process.kill().await;
        self.engines[index].pid = None;
        Ok(())
    }

    /// Starts a dead replica again at its old addresses; returns when Envoy calls all that live healthy. One that lives
    /// is killed first.
    ///
    /// # Errors
    /// [`TownError::NoSuch`], and why it can't start.
    pub async fn restart_replica(&mut self, index: usize) -> Result<(), TownError> {
        let Some(spot) = self.replicas.get_mut(index) else {
            return Err(TownError::NoSuch { kind: "replica", index, deed: "started again" });
        };
        if let Some(mut old) = self.replica_processes[index].take() {
            old.kill().await;
        }
        let mut process = spot.start(&self.rearing)?;
        spot.ready(&mut process).await?;
        self.replica_processes[index] = Some(process);
        let living: Vec<SocketAddr> =
            self.replicas.iter().filter(|one| one.pid.is_some()).map(|one| one.ext_proc).collect();
        envoy::all_healthy(self.envoy_admin, &living, &mut self.envoy).await
    }

    /// Starts a dead engine again at its old address; one that lives is killed first.
    ///
    /// # Errors
    /// [`TownError::NoSuch`] for a real one or one that never was, and why it can't start.
    pub async fn restart_engine(&mut self, index: usize) -> Result<(), TownError> {
        if index >= self.engine_processes.len() {
            return Err(TownError::NoSuch { kind: "engine", index, deed: "started again" });
        }
        if let Some(mut old) = self.engine_processes[index].take() {
            old.kill().await;
        }
        let (born, process) = self.start_engine(index).await?;
        self.engines[index] = born;
        self.engine_processes[index] = Some(process);
        Ok(())
    }

    /// Names and ends of those that ended without being told to, each told once.
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
        dead
    }

    /// How Envoy ended, if it has: then the town is of no use.
    pub fn envoy_end(&mut self) -> Option<TownError> {
        self.envoy.still_lives().err()
    }

    /// The replication as the judge of `--check` must know it; `None` where nothing is shared.
    pub fn replication_for_check(&self) -> Option<Replication> {
        let plan = self.rearing.replication.as_ref()?;
        let ext_proc = self.replicas.iter().map(|replica| replica.ext_proc).collect();
        Some(Replication { ext_proc, authority: plan.authority() })
    }

    /// Envoy's guard, whose end is Envoy's.
    pub fn envoy_pid(&self) -> Option<u32> {
        self.envoy.pid()
    }
}

type Started<T> = (Vec<T>, Vec<Option<Process>>);

async fn start_engines(
    args: &Args,
    program: &Path,
    ground: &Ground,
    mut network: Option<&mut Network>,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(Vec<EngineSpot>, Vec<Option<Process>>, String), TownError> {
    let (mut spots, mut processes): Started<EngineSpot> = Started::default();
    if args.engine_urls.is_empty() {
        tell(&format!("starting {}", counted(args.engines, "emulated engine")));
        let model = args.model.clone().unwrap_or_else(|| MODEL.to_owned());
        for index in 0..args.engines {
            let name = format!("engine-{index}");
            let place = match network.as_deref_mut() {
                Some(network) => EnginePlace {
                    address: SocketAddr::new(network.host(&name, ENGINE_HOSTS + index as u8)?, ENGINE_PORT),
                    space: Some(network.space(&name)),
                },
                None => EnginePlace { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), space: None },
            };
            let (spot, process) = engines::start(program, &name, &model, &place, &ground.run).await?;
            spots.push(spot);
            processes.push(Some(process));
        }
        return Ok((spots, processes, model));
    }
    tell("looking for the engines");
    for (index, url) in args.engine_urls.iter().enumerate() {
        spots.push(engines::adopt(index, url).await?);
    }
    let model = match &args.model {
        Some(model) => model.clone(),
        None => engines::first_model(&spots[0]).await?,
    };
    // A real engine has no process here: none can be killed or started again.
    Ok((spots, processes, model))
}

fn places(args: &Args, ports: &mut Ports, mut network: Option<&mut Network>) -> Result<Vec<ReplicaSpot>, TownError> {
    let mut spots = Vec::with_capacity(usize::from(args.replicas));
    for index in 0..usize::from(args.replicas) {
        let spot = ReplicaSpot::choose(index, ports)?;
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

/// All at once, and then waits for each.
async fn start_replicas(spots: &mut [ReplicaSpot], rearing: &Rearing) -> Result<Vec<Option<Process>>, TownError> {
    let mut processes = Vec::new();
    for spot in spots.iter_mut() {
        processes.push(Some(spot.start(rearing)?));
    }
    for (spot, process) in spots.iter().zip(&mut processes) {
        if let Some(process) = process {
            spot.ready(process).await?;
        }
    }
    Ok(processes)
}

fn config(args: &Args, endpoints: &Path) -> Result<String, TownError> {
    let Some(file) = &args.config_file else {
        return pool_config::with_endpoints(None, "the default configuration", endpoints);
    };
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(TownError::file(format!("read --config-file {name}")))?;
    pool_config::with_endpoints(Some(&text), &name, endpoints)
}

fn counted(number: u16, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// From one look at the processes to the next, for those who watch a town.
pub(super) const WATCH_EVERY: Duration = Duration::from_millis(500);
