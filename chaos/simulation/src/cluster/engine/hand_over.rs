//! The two legs of a pair, at the engines.
//!
//! Must not know links. An engine that was restarted is another process: nobody reads from it what the former one kept.

use murmuration::time::Timestamp;
use murmuration_engine_sim::model::{Output, Received, Request};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Engine;

/// KV that an engine keeps: whose, and of which start of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Promise {
    pub(in crate::cluster) request: u64,
    pub(in crate::cluster) start: u32,
}

impl Engine {
    /// Submits a request whose blocks are kept when it ends; `None` if the engine is killed or its queue is full.
    pub(in crate::cluster) fn prefill(&self, request: Request, now: Timestamp) -> Option<UnboundedReceiver<Output>> {
        self.submit(request, |model, request| model.submit_kept(request, now))
    }

    /// Submits a request whose KV is on its way; `None` if the engine is killed or its queue is full.
    pub(in crate::cluster) fn expect(&self, request: Request) -> Option<UnboundedReceiver<Output>> {
        self.submit(request, |model, request| model.expect(request))
    }

    /// The KV of an expected request has arrived, or nothing will.
    pub(in crate::cluster) fn arrived(&self, request: u64, received: Option<Received>, now: Timestamp) {
        self.inner().model.arrived(request, received, now);
    }

    /// The number of the engine's start, which tells its processes apart.
    pub(in crate::cluster) fn start(&self) -> u32 {
        self.inner().starts
    }

    /// Tokens of the prompt that are in the cache.
    pub(in crate::cluster) fn cached(&self, prompt: &[u32]) -> usize {
        self.inner().model.cached_tokens(prompt, None, None)
    }

    /// What a reader gets that begins now; `None` if this process has kept nothing for it.
    pub(in crate::cluster) fn read(&self, promise: Promise, tokens: usize) -> Option<Received> {
        let inner = self.inner();
        let same = !inner.engine_faults.killed && inner.starts == promise.start;
        same.then(|| inner.model.read_kept(promise.request, tokens))
    }

    /// Whether what was promised is still kept.
    pub(in crate::cluster) fn keeps(&self, promise: Promise) -> bool {
        let inner = self.inner();
        let same = !inner.engine_faults.killed && inner.starts == promise.start;
        same && inner.model.kept(promise.request).is_some()
    }

    /// A reader is done.
    pub(in crate::cluster) fn release(&self, promise: Promise) {
        let mut inner = self.inner();
        if inner.starts == promise.start {
            inner.model.release_kept(promise.request);
        }
    }
}
