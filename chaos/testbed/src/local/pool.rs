//! The engines of a testbed and what stands in front of them: how they are started, all alike or in roles.
//!
//! Must not know replicas or Envoy.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use murmuration_engine_sim::hand_off::Role;

use super::args::Args;
use super::engines::{self, EnginePlan, EngineSpot};
use super::ports::Ports;
use super::process::Process;
use super::sidecars::{SidecarPlan, SidecarSpot};
use super::{Network, TestbedError};

/// The default model of emulated engines.
const MODEL: &str = "tiny";
/// The number of the first engine's host, where each has its own network.
const ENGINE_HOSTS: u8 = 100;
/// The port of an engine that has its own network.
const ENGINE_PORT: u16 = 8000;
/// The folder in which encode engines leave embeddings.
const EMBEDDINGS: &str = "embeddings";

/// Speeds of engines with roles: those that the shipped configurations for prefill and decode name, and a step as long
/// as that of a large model.
const SPEEDS: [&str; 8] =
    ["--prefill-tokens-per-s", "10000", "--step-base-us", "20000", "--link", "10", "--kv-bytes-per-token", "327680"];

/// The engines of a testbed.
#[derive(Debug, Default)]
pub(super) struct Pool {
    /// Where they are.
    pub(super) spots: Vec<EngineSpot>,
    /// Their processes; none for a real engine, which can't be killed or restarted.
    pub(super) engines: Vec<Option<Process>>,
    /// What emulated ones are started with.
    pub(super) plans: Vec<EnginePlan>,
    /// The processes of their sidecars.
    pub(super) sidecars: Vec<Option<Process>>,
    /// The model that all serve.
    pub(super) model: String,
}

// === impl Pool ===

impl Pool {
    /// Starts the engines that `args` ask for, or finds them.
    ///
    /// # Errors
    /// Why that is not possible.
    pub(super) async fn start(
        args: &Args,
        program: &Path,
        run: &Path,
        network: Option<&mut Network>,
        ports: &mut Ports,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<Self, TestbedError> {
        if !args.engine_urls.is_empty() {
            tell("looking for the engines");
            return Ok(Self::adopt(args).await?.in_zones(args));
        }
        let mut pool = Self { model: args.model.clone().unwrap_or_else(|| MODEL.to_owned()), ..Self::default() };
        match args.shape() {
            Some(shape) => {
                let embeddings = run.join(EMBEDDINGS);
                std::fs::create_dir_all(&embeddings)
                    .map_err(TestbedError::file(format!("make the folder {}", embeddings.display())))?;
                let named = shape.engines();
                tell(&format!("starting {} with roles", counted(named.len(), "emulated engine")));
                for (name, role) in named {
                    let plan = EnginePlan { arguments: with_role(role, &embeddings), ..pool.plan(&name) };
                    pool.add(program, plan, run, Some(role)).await?;
                }
                tell(&format!("starting {}", counted(usize::from(shape.decode), "sidecar")));
                pool.start_sidecars(args, program, run, ports).await?;
            }
            None => {
                tell(&format!("starting {}", counted(usize::from(args.engines), "emulated engine")));
                pool.start_alike(args.engines, program, run, network).await?;
            }
        }
        Ok(pool.in_zones(args))
    }

    fn in_zones(mut self, args: &Args) -> Self {
        for (index, spot) in self.spots.iter_mut().enumerate() {
            spot.zone = args.zone_of(index);
        }
        self
    }

    async fn adopt(args: &Args) -> Result<Self, TestbedError> {
        let mut pool = Self::default();
        for (index, url) in args.engine_urls.iter().enumerate() {
            pool.spots.push(engines::adopt(index, url).await?);
        }
        pool.model = match &args.model {
            Some(model) => model.clone(),
            None => engines::first_model(&pool.spots[0]).await?,
        };
        Ok(pool)
    }

    async fn start_alike(
        &mut self,
        count: u16,
        program: &Path,
        run: &Path,
        mut network: Option<&mut Network>,
    ) -> Result<(), TestbedError> {
        for index in 0..count {
            let mut plan = self.plan(&format!("engine-{index}"));
            if let Some(network) = network.as_deref_mut() {
                let host = network.host(&plan.name, ENGINE_HOSTS + index as u8)?;
                (plan.address, plan.space) = (SocketAddr::new(host, ENGINE_PORT), Some(network.space(&plan.name)));
            }
            self.add(program, plan, run, None).await?;
        }
        Ok(())
    }

    fn plan(&self, name: &str) -> EnginePlan {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let (name, model) = (name.to_owned(), self.model.clone());
        EnginePlan { name, model, address, space: None, arguments: Vec::new() }
    }

    async fn add(
        &mut self,
        program: &Path,
        mut plan: EnginePlan,
        run: &Path,
        role: Option<Role>,
    ) -> Result<(), TestbedError> {
        let (address, process) = engines::start(program, &plan, run).await?;
        // It starts again at the same address.
        plan.address = address;
        let (name, pid) = (plan.name.clone(), process.pid());
        self.spots.push(EngineSpot::at(name, address, role, pid));
        self.engines.push(Some(process));
        self.plans.push(plan);
        self.sidecars.push(None);
        Ok(())
    }

    async fn start_sidecars(
        &mut self,
        args: &Args,
        program: &Path,
        run: &Path,
        ports: &mut Ports,
    ) -> Result<(), TestbedError> {
        let decodes = |spot: &EngineSpot| spot.role == Some(Role::Decode);
        let plan = SidecarPlan {
            targets: self.spots.iter().filter(|spot| !decodes(spot)).map(|spot| spot.engine).collect(),
            encodes: self.spots.iter().any(|spot| spot.role == Some(Role::Encode)),
            on_prefill_failure: args.on_prefill_failure,
        };
        let deciders = self.spots.iter_mut().zip(&mut self.sidecars).filter(|(spot, _)| decodes(spot));
        for (index, (spot, slot)) in deciders.enumerate() {
            let mut sidecar = SidecarSpot::choose(index, ports)?;
            *slot = Some(sidecar.start(program, spot.engine, &plan, run).await?);
            spot.address = sidecar.address;
            spot.sidecar = Some(sidecar);
        }
        Ok(())
    }
}

fn with_role(role: Role, embeddings: &Path) -> Vec<String> {
    let folder: PathBuf = embeddings.to_owned();
    let own = ["--role", role.label(), "--shared-embeddings"].map(str::to_owned);
    own.into_iter().chain([folder.display().to_string()]).chain(SPEEDS.map(str::to_owned)).collect()
}

/// A number and its noun.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
