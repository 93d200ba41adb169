//! An engine outside of the tier, which no sidecar or picker knows: its answers are the right ones.
//!
//! Must not know the tier.

use std::net::Ipv4Addr;
use std::time::Duration;

use murmuration_engine_sim::EngineConfig;
use murmuration_engine_sim::http::{EngineServer, serve};
use murmuration_kit::client::{Answer, Call, Client};
use tokio::net::TcpListener;

use super::super::client_request::fetch;

/// The engine, in this process.
#[derive(Debug)]
pub(super) struct Reference {
    client: Client,
    _engine: EngineServer,
}

// === impl Reference ===

impl Reference {
    /// Starts it.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub(super) async fn start(model: &str) -> Result<Self, String> {
        let fail = |why: String| format!("the engine outside of the tier does not start: {why}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|why| fail(why.to_string()))?;
        let (step_base, prefill_tokens_per_s) = (Duration::from_micros(100), 1e7);
        let (name, model) = ("outside".to_owned(), model.to_owned());
        let config = EngineConfig { name, model, step_base, prefill_tokens_per_s, ..EngineConfig::default() };
        let engine = serve(listener, config).map_err(|why| fail(why.to_string()))?;
        Ok(Self { client: Client::new(engine.address()), _engine: engine })
    }

    /// Its answer.
    pub(super) async fn answer(&self, call: &Call) -> Result<Answer, String> {
        fetch(&self.client, call).await
    }
}
