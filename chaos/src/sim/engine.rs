//! An engine of the town: the pure model, its page behind a listener, and whoever waits for its answers.
//!
//! Must not know replicas. Its page has only what replicas read; requests come to it by a call, since what is tested is not engines' HTTP.

mod page;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::fleet::Endpoint;
use murmuration::time::Timestamp;
use murmuration_actors::environment::Listener;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;

use super::directory::Directory;
use super::host::Host;
use super::net::Socketry;
use super::weather::Ground;
use crate::engine::EngineConfig;
use crate::engine::model::{EngineModel, Gauges, Output, Request};

/// The port of an engine.
pub(super) const PORT: u16 = 8000;
/// KV blocks of an engine: a cache that holds most of what is asked in a run.
const BLOCKS: usize = 65_536;

/// The engine. Cheap to clone.
#[derive(Clone)]
pub(super) struct Engine {
    number: usize,
    directory: Directory,
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    model: EngineModel,
    ground: Ground,
    waiting: BTreeMap<u64, Waiting>,
    /// What the page said when it stopped changing.
    stale: Gauges,
    server: Option<AbortHandle>,
}

/// Whoever waits for an answer, and to what.
struct Waiting {
    answer: UnboundedSender<Output>,
    prompt: Vec<u32>,
}

// === impl Engine ===

impl Engine {
    /// The engine of this number, which is to be switched on.
    pub(super) fn new(number: usize, directory: &Directory) -> Self {
        let ground = Ground { killed: true, slowness: 1.0, page: None };
        let model = EngineModel::new(config(number));
        let inner = Inner { model, ground, waiting: BTreeMap::new(), stale: Gauges::default(), server: None };
        Self { number, directory: directory.clone(), inner: Arc::new(Mutex::new(inner)) }
    }

    /// What discovery says of it.
    pub(super) fn endpoint(&self, zone: usize) -> Endpoint {
        let labels = BTreeMap::from([("topology.kubernetes.io/zone".to_owned(), format!("zone-{zone}"))]);
        Endpoint { id: self.directory.id(self.number), address: self.directory.address(self.number), labels }
    }

    /// Another one takes its place, with an empty cache and the name and address that the directory has now; whoever waits for it waits in
    /// vain.
    pub(super) fn replace(&self, host: &Host, socketry: &Socketry) {
        let ground = self.inner().ground;
        self.set(Ground { killed: true, ..ground }, host, socketry);
        self.set(ground, host, socketry);
    }

    /// Makes it so: what was dead starts with an empty cache, and whoever waits for one that dies waits in vain.
    pub(super) fn set(&self, ground: Ground, host: &Host, socketry: &Socketry) {
        let mut inner = self.inner();
        let before = std::mem::replace(&mut inner.ground, ground);
        if before.killed && !ground.killed {
            inner.model = EngineModel::new(config(self.number));
            let (listener, engine) = (socketry.listen_at(self.directory.address(self.number)), self.clone());
            inner.server = Some(serve(listener, engine, host));
        }
        if ground.page.is_some() && before.page.is_none() {
            inner.stale = inner.model.gauges();
        }
        inner.model.slow_down(ground.slowness);
        let stopped = inner.server.take_if(|_| ground.killed);
        let waiting = if ground.killed { std::mem::take(&mut inner.waiting) } else { BTreeMap::new() };
        drop(inner);
        stopped.into_iter().for_each(|server| server.abort());
        drop(waiting);
    }

    /// Hands over all that came out until `now`.
    pub(super) fn advance(&self, now: Timestamp) {
        let mut inner = self.inner();
        if inner.ground.killed || inner.model.next_event().is_none_or(|next| next > now) {
            return;
        }
        for output in inner.model.advance(now) {
            let (id, finished) = (output.id, output.finished);
            let heard = inner.waiting.get(&id).is_some_and(|waiting| waiting.answer.send(output).is_ok());
            if finished {
                inner.waiting.remove(&id);
            } else if !heard {
                inner.waiting.remove(&id);
                inner.model.abort(id);
            }
        }
    }

    /// Asks it; `None` when nobody is there.
    pub(super) fn ask(&self, request: Request, now: Timestamp) -> Option<UnboundedReceiver<Output>> {
        let mut inner = self.inner();
        if inner.ground.killed {
            return None;
        }
        let (answer, receiver) = mpsc::unbounded_channel();
        let (id, prompt) = (request.id, request.tokens.clone());
        inner.model.submit(request, now).ok()?;
        inner.waiting.insert(id, Waiting { answer, prompt });
        Some(receiver)
    }

    /// Tokens of `prompt` that are in its cache, or will be once it has computed what it was asked already.
    pub(super) fn held(&self, prompt: &[u32]) -> u64 {
        let inner = self.inner();
        if inner.ground.killed {
            return 0;
        }
        let shared = |asked: &Waiting| asked.prompt.iter().zip(prompt).take_while(|(a, b)| a == b).count();
        let coming = inner.waiting.values().map(shared).max().unwrap_or(0);
        coming.max(inner.model.cached_tokens(prompt, None, None)) as u64
    }

    /// Requests that it has.
    pub(super) fn requests(&self) -> usize {
        self.inner().waiting.len()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves its page until aborted.
fn serve(listener: Listener, engine: Engine, host: &Host) -> AbortHandle {
    let _runtime = host.enter();
    tokio::spawn(page::serve(listener, engine)).abort_handle()
}

fn config(number: usize) -> EngineConfig {
    EngineConfig { name: format!("engine-{number}"), blocks: BLOCKS, ..EngineConfig::default() }
}
