//! An engine of the cluster: the pure model, its metrics page behind a listener, and its open requests.
//!
//! Must not know replicas. The page has only the series that replicas read. Requests arrive by a function call, because
//! the HTTP of engines is not under test.

mod hand_over;
mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::fleet::Endpoint;
use murmuration::time::Timestamp;
use murmuration_actors::environment::Listener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use super::directory::Directory;
use super::fault_state::EngineFaults;
use super::host::Host;
use super::net::NodeNetwork;
use crate::plan::ClusterSpec;
pub(super) use hand_over::Promise;
use murmuration_engine_sim::EngineConfig;
use murmuration_engine_sim::model::{Busy, EngineModel, Gauges, Output, Request};

/// The port of an engine.
pub(super) const PORT: u16 = 8000;
/// KV blocks of an engine: enough to hold most prompts of a run.
const BLOCKS: usize = 65_536;

/// The engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    number: usize,
    role: Option<&'static str>,
    directory: Directory,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    model: EngineModel,
    /// Starts so far.
    starts: u32,
    engine_faults: EngineFaults,
    waiting: BTreeMap<u64, Waiting>,
    /// The gauges at the time the page became stale.
    stale: Gauges,
    server: Option<AbortHandle>,
}

/// An open request: where its tokens go, and its prompt.
struct Waiting {
    answer: UnboundedSender<Output>,
    prompt: Vec<u32>,
}

// === impl Engine ===

impl Engine {
    /// The engine with this number; killed until [`Self::set`] starts it.
    pub(super) fn new(number: usize, cluster: &ClusterSpec, directory: &Directory) -> Self {
        let engine_faults = EngineFaults { killed: true, slowness: 1.0, page: None };
        let model = EngineModel::new(config(number));
        let (waiting, stale) = (BTreeMap::new(), Gauges::default());
        let inner = Inner { model, starts: 0, engine_faults, waiting, stale, server: None };
        let role = (cluster.prefillers > 0).then(|| if cluster.prefills(number) { "prefill" } else { "decode" });
        Self { number, role, directory: directory.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// The engine as discovery announces it.
    pub(super) fn endpoint(&self, zone: usize) -> Endpoint {
        let zone = ("topology.kubernetes.io/zone".to_owned(), format!("zone-{zone}"));
        let role = self.role.map(|role| ("llm-d.ai/role".to_owned(), role.to_owned()));
        let labels = role.into_iter().chain([zone]).collect();
        Endpoint { id: self.directory.id(self.number), address: self.directory.address(self.number), labels }
    }

    /// Restarts the engine with an empty cache, under the name and address that the directory has now. Its open
    /// requests fail.
    pub(super) fn replace(&self, host: &Host, network: &NodeNetwork) {
        let engine_faults = self.inner().engine_faults;
        self.set(EngineFaults { killed: true, ..engine_faults }, host, network);
        self.set(engine_faults, host, network);
    }

    /// Applies `engine_faults`. An engine that starts has an empty cache. A killed engine fails its open requests.
    pub(super) fn set(&self, engine_faults: EngineFaults, host: &Host, network: &NodeNetwork) {
        let mut inner = self.inner();
        let before = std::mem::replace(&mut inner.engine_faults, engine_faults);
        if before.killed && !engine_faults.killed {
            inner.model = EngineModel::new(config(self.number));
            inner.starts += 1;
            let (listener, engine) = (network.listen_at(self.directory.address(self.number)), self.clone());
            inner.server = Some(serve(listener, engine, host));
        }
        if engine_faults.page.is_some() && before.page.is_none() {
            inner.stale = inner.model.gauges();
        }
        inner.model.slow_down(engine_faults.slowness);
        let stopped = inner.server.take_if(|_| engine_faults.killed);
        let waiting = if engine_faults.killed { std::mem::take(&mut inner.waiting) } else { BTreeMap::new() };
        drop(inner);
        stopped.into_iter().for_each(|server| server.abort());
        drop(waiting);
    }

    /// Sends all outputs of the model until `now`. A request whose receiver is gone is aborted.
    pub(super) fn advance(&self, now: Timestamp) {
        let mut inner = self.inner();
        if inner.engine_faults.killed || inner.model.next_event().is_none_or(|next| next > now) {
            return;
        }
        for output in inner.model.advance(now) {
            let (id, finished) = (output.id, output.finished);
            let delivered = inner.waiting.get(&id).is_some_and(|waiting| waiting.answer.send(output).is_ok());
            if finished {
                inner.waiting.remove(&id);
            } else if !delivered {
                inner.waiting.remove(&id);
                inner.model.abort(id);
            }
        }
    }

    /// Submits a request; `None` if the engine is killed or its queue is full.
    pub(super) fn ask(&self, request: Request, now: Timestamp) -> Option<UnboundedReceiver<Output>> {
        self.submit(request, |model, request| model.submit(request, now))
    }

    fn submit(
        &self,
        request: Request,
        take: impl FnOnce(&mut EngineModel, Request) -> Result<(), Busy>,
    ) -> Option<UnboundedReceiver<Output>> {
        let mut inner = self.inner();
        if inner.engine_faults.killed {
            return None;
        }
        let (answer, receiver) = mpsc::unbounded_channel();
        let (id, prompt) = (request.id, request.tokens.clone());
        take(&mut inner.model, request).ok()?;
        inner.waiting.insert(id, Waiting { answer, prompt });
        Some(receiver)
    }

    /// Tokens of `prompt` that are in the cache, or will be once the open requests are computed.
    pub(super) fn held(&self, prompt: &[u32]) -> u64 {
        let inner = self.inner();
        if inner.engine_faults.killed {
            return 0;
        }
        let shared = |asked: &Waiting| asked.prompt.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let pending = inner.waiting.values().map(shared).max().unwrap_or(0);
        pending.max(inner.model.cached_tokens(prompt, None, None)) as u64
    }

    /// Open requests.
    pub(super) fn requests(&self) -> usize {
        self.inner().waiting.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the metrics page until aborted.
fn serve(listener: Listener, engine: Engine, host: &Host) -> AbortHandle {
    let _runtime = host.enter();
    tokio::spawn(page::serve(listener, engine)).abort_handle()
}

/// The configuration of an engine.
pub(super) fn config(number: usize) -> EngineConfig {
    EngineConfig { name: format!("engine-{number}"), blocks: BLOCKS, ..EngineConfig::default() }
}
