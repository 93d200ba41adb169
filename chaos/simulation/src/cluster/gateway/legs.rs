//! What the sidecar of a decode engine does with a request: the prefill leg, the hand-over, the decode leg.
//!
//! Which engine is next, what a leg is asked and what is handed over are the sidecar's own rules
//! ([`murmuration_actors::sidecar::rules`], connector `nixlv2`, `--on-prefill-failure decode`). Waiting and connections are
//! a model: a leg fails where its link is cut at the moment of its answer, so no answer is held back by the network. Must
//! not know replicas.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_actors::sidecar::rules::{self, Attempts, DecodeLeg};
use murmuration_engine_sim::model::{Output, Request};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{sleep, timeout};

use super::Shared;
use super::pairs::Pair;
use crate::cluster::engine::Promise;
use crate::history::{Fact, Legs, Source};
use crate::plan::{PairMoment, TransferFault};

/// How long the sidecar waits for an engine that it can't reach.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// `--prefill-timeout`, short because runs are short.
const PREFILL_TIMEOUT: Duration = Duration::from_secs(8);
/// `--handoff-timeout`: a third of the engines' lease, as by default.
const HAND_OFF_MAX: Duration = Duration::from_secs(1);
/// The port at which an engine tells others where its blocks are.
const SIDE_PORT: u16 = 5600;

/// A request that came with prefill endpoints.
pub(super) struct Split<'a> {
    pub(super) planner: usize,
    pub(super) prefillers: &'a [SocketAddr],
    pub(super) decode: usize,
    pub(super) request: Request,
    /// Its body, as the client sent it.
    pub(super) body: &'a [u8],
}

/// A prefill leg that was answered.
struct Prefilled {
    engine: usize,
    /// The engine's answer.
    answer: Vec<u8>,
    /// When the sidecar had it.
    at: Duration,
}

// === impl Split ===

impl Split<'_> {
    /// Runs the legs up to the decode engine's answer; `None` if that engine is gone.
    pub(super) async fn answer(self, shared: &Shared) -> Option<UnboundedReceiver<Output>> {
        let mut attempts = Attempts::new(self.prefillers.len(), 0);
        let mut why = "no prefill endpoint";
        while let Some(target) = attempts.next_target() {
            let Some(prefill) = shared.engine_at(self.prefillers[target]) else {
                why = "the prefill endpoint is gone";
                continue;
            };
            let pair = Pair { planner: self.planner, prefill, decode: self.decode, moment: PairMoment::Prefilling };
            let open = shared.pairs.open(self.request.id, pair);
            match self.prefilled(shared, prefill).await {
                Ok(done) => {
                    open.hands_over();
                    return self.decoded(shared, done).await;
                }
                Err(failed) => why = failed,
            }
        }
        self.alone(shared, why)
    }

    /// The prefill leg at one engine.
    async fn prefilled(&self, shared: &Shared, engine: usize) -> Result<Prefilled, &'static str> {
        if !shared.engines_meet(self.decode, engine) {
            sleep(CONNECT_TIMEOUT).await;
            return Err("the prefill engine can't be reached");
        }
        let body = rules::prefill_leg(self.body).map_err(|_| "the request can't be read")?;
        let max_tokens = field(&body, "max_tokens").as_u64().and_then(|tokens| usize::try_from(tokens).ok());
        let keeps = field(&body, "kv_transfer_params")["do_remote_decode"] == true;
        let request = Request { max_tokens: max_tokens.unwrap_or(1), ..self.request.clone() };
        let start = shared.engines[engine].start();
        let now = shared.recorder.moment();
        let asked = if keeps { shared.engines[engine].prefill(request, now) } else { None };
        let mut outputs = asked.ok_or("the prefill engine refuses")?;
        match timeout(PREFILL_TIMEOUT, outputs.recv()).await {
            Err(_) => Err("the prefill engine is too slow"),
            Ok(None) => Err("the prefill engine died"),
            Ok(Some(_)) if !shared.engines_meet(self.decode, engine) => Err("the prefill engine's answer is lost"),
            Ok(Some(_)) => {
                let answer = self.told(engine, start);
                Ok(Prefilled { engine, answer, at: shared.recorder.now() })
            }
        }
    }

    /// The answer of an engine that keeps blocks.
    fn told(&self, engine: usize, start: u32) -> Vec<u8> {
        let params = json!({
            "do_remote_prefill": true,
            "do_remote_decode": false,
            "remote_engine_id": format!("{engine}.{start}"),
            "remote_block_ids": [self.request.id],
            "remote_host": format!("engine-{engine}"),
            "remote_port": SIDE_PORT,
        });
        json!({ "choices": [{ "index": 0, "text": "a" }], "kv_transfer_params": params }).to_string().into_bytes()
    }

    /// The decode leg after a prefill leg.
    async fn decoded(self, shared: &Shared, done: Prefilled) -> Option<UnboundedReceiver<Output>> {
        if let Some((TransferFault::ToldLate, by)) = shared.transfer_fault(self.request.id) {
            sleep(by).await;
        }
        let age = shared.recorder.now().saturating_sub(done.at);
        let leg = rules::decode_leg(self.body, &done.answer, age, HAND_OFF_MAX);
        let Ok(leg) = leg.as_ref().map_err(|_| ()) else { return self.alone(shared, "the request can't be read") };
        let Some((engine, promise)) = promised(leg).filter(|_| leg.hands_over) else {
            return self.alone(shared, leg.result);
        };
        let (id, prompt) = (self.request.id, self.request.tokens.clone());
        let outputs = shared.engines[self.decode].expect(self.request.clone());
        let Some(outputs) = outputs else { return self.ended(shared, Legs::Failed("the decode engine is gone"), None) };
        let moved = shared.moved((engine, self.decode), promise, &prompt).await;
        shared.engines[self.decode].arrived(id, moved.ok(), shared.recorder.moment());
        let legs = moved.map_or_else(Legs::Computed, |_| Legs::Moved { from: done.engine });
        self.ended(shared, legs, Some(outputs))
    }

    /// The decode engine computes the prompt.
    fn alone(&self, shared: &Shared, why: &'static str) -> Option<UnboundedReceiver<Output>> {
        let outputs = shared.engines[self.decode].ask(self.request.clone(), shared.recorder.moment());
        let legs = if outputs.is_some() { Legs::Computed(why) } else { Legs::Failed("the decode engine is gone") };
        self.ended(shared, legs, outputs)
    }

    fn ended(
        &self,
        shared: &Shared,
        legs: Legs,
        outputs: Option<UnboundedReceiver<Output>>,
    ) -> Option<UnboundedReceiver<Output>> {
        shared.recorder.write(Source::Client, Fact::LegsEnded { request: self.request.id, legs });
        outputs
    }
}

/// Whose KV a decode leg says is where.
fn promised(leg: &DecodeLeg) -> Option<(usize, Promise)> {
    let params = field(&leg.body, "kv_transfer_params");
    let (engine, start) = params["remote_engine_id"].as_str()?.split_once('.')?;
    let request = params["remote_block_ids"][0].as_u64()?;
    Some((engine.parse().ok()?, Promise { request, start: start.parse().ok()? }))
}

fn field(body: &str, name: &str) -> Value {
    let mut body: Value = serde_json::from_str(body).unwrap_or_default();
    body[name].take()
}
