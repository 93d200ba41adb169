//! What a check sees of a testbed, and what it may do to it.
//!
//! Must not know what is checked.

use murmuration_simulation::plan::ResponsePath;

use super::args::{Args, OnPrefillFailure};
use super::{EngineSpot, Testbed};
use crate::check::Target;
use crate::check::pd::{Engines, PdEngine, PdTarget};

impl Testbed {
    /// The tier.
    pub fn target(&self) -> Target {
        Target {
            public: self.public,
            direct: self.direct,
            model: self.model.clone(),
            engines: self.engines.len(),
            replicas: self.replicas.iter().map(|replica| replica.admin).collect(),
            replication: self.access_for_check(),
        }
    }

    /// The tier and its engines with roles, as `args` asked for them.
    pub fn roles(&self, args: &Args) -> PdTarget {
        let engine = |one: &EngineSpot| Some(PdEngine { name: one.name.clone(), role: one.role?, address: one.engine });
        PdTarget {
            tier: self.target(),
            engines: self.engines.iter().filter_map(engine).collect(),
            falls_back: args.on_prefill_failure == OnPrefillFailure::Decode,
            sees_answers: args.response_path == ResponsePath::Stay,
        }
    }

    fn engine_called(&self, name: &str) -> Result<usize, String> {
        let index = self.engines.iter().position(|engine| engine.name == name);
        index.ok_or_else(|| format!("there is no engine called {name}"))
    }
}

impl Engines for Testbed {
    async fn kill(&mut self, name: &str) -> Result<(), String> {
        let index = self.engine_called(name)?;
        self.kill_engine(index).await.map_err(|why| why.to_string())
    }

    async fn restart(&mut self, name: &str) -> Result<(), String> {
        let index = self.engine_called(name)?;
        self.restart_engine(index).await.map_err(|why| why.to_string())
    }
}
