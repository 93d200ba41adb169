//! What an engine does for a request before its model gets it: it takes the KV that another engine computed, and encodes
//! images and other media or loads their embeddings.
//!
//! Must not know routes or the model; it asks the driver.

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::ask::Ask;
use super::driver::Message;
use super::embeddings::Embeddings;
use super::kv_cache::KvPart;
use super::kv_params::{KvAsk, Remote};
use super::refusal::Refusal;
use super::served::Served;
use super::side_channel::{self, LoadFailure};
use crate::hand_off::{HandOff, OnLoadFailure, Role};
use crate::model::Request;

/// The connector of an engine.
#[derive(Debug)]
pub(super) struct Connector {
    hand_off: HandOff,
    embeddings: Option<Embeddings>,
    engine_id: String,
}

/// A request that is ready for the model.
#[derive(Debug, Default)]
pub(super) struct Ready {
    pub(super) part: KvPart,
    /// Gives the parameters of the hand-off, once the request has finished; nothing if its KV is not kept.
    pub(super) kept: Option<oneshot::Receiver<Value>>,
}

/// Counts a request that waits for its KV; dropped at the end of the wait.
struct Waits<'d>(&'d mpsc::UnboundedSender<Message>);

// === impl Connector ===

impl Connector {
    pub(super) fn new(hand_off: HandOff, engine_id: String) -> Self {
        let embeddings = hand_off.embeddings.as_deref().map(Embeddings::new);
        Self { hand_off, embeddings, engine_id }
    }

    /// The engine's id, another one after each start.
    pub(super) fn engine_id(&self) -> &str {
        &self.engine_id
    }

    /// Gets what `ask` needs. `name` is what its answer is called, and `served` notes what was done.
    ///
    /// # Errors
    /// A refusal, when its KV could not be loaded. An engine that is told to load from blocks that are not named ends.
    pub(super) async fn prepare(
        &self,
        ask: &Ask,
        name: String,
        driver: &mpsc::UnboundedSender<Message>,
        served: &mut Served,
    ) -> Result<Ready, Refusal> {
        let mut part = KvPart { name, ..KvPart::default() };
        let single = ask.requests.first().filter(|_| ask.requests.len() == 1);
        match (&ask.kv, single) {
            (KvAsk::Fatal, _) if self.hand_off.role.pulls() => {
                let _ = driver.send(Message::Stop);
                return Err(Refusal::dead());
            }
            (KvAsk::Pull(remote), Some(request)) if self.hand_off.role.pulls() => {
                part.received = self.pull(remote, request, driver, served).await?;
            }
            _ => {}
        }
        if part.received.is_none() {
            part.wrong = self.encode(&ask.media, served).await;
        }
        // As a real engine, it hands over what was cut off at the client's bound, and no answer that ended by itself.
        let keeps = ask.kv == KvAsk::Keep && self.hand_off.role.keeps() && single.is_some() && !ask.natural;
        served.keeps = keeps;
        let kept = keeps.then(|| {
            let (kept, parameters) = oneshot::channel();
            part.kept = Some(kept);
            parameters
        });
        Ok(Ready { part, kept })
    }

    async fn pull(
        &self,
        remote: &Remote,
        request: &Request,
        driver: &mpsc::UnboundedSender<Message>,
        served: &mut Served,
    ) -> Result<Option<Vec<u64>>, Refusal> {
        let _waits = Waits::begin(driver);
        let (reader, cached) = oneshot::channel();
        driver.send(Message::Cached(request.clone(), reader)).map_err(|_| Refusal::dead())?;
        let missing = request.tokens.len().saturating_sub(cached.await.map_err(|_| Refusal::dead())?);
        let pulled = side_channel::pull(remote, self.hand_off.handshake, self.hand_off.transfer(missing)).await;
        match (pulled, self.hand_off.on_load_failure) {
            (Ok(contents), _) => {
                served.pulled_from = Some(remote.engine.clone());
                Ok(Some(contents))
            }
            (Err(failure), policy) => {
                served.load_failure = Some(LoadFailure::as_str(failure));
                if policy == OnLoadFailure::Recompute { Ok(None) } else { Err(Refusal::not_loaded()) }
            }
        }
    }

    /// Encodes or loads items. Returns what is wrong with their embeddings; 0 is nothing.
    async fn encode(&self, items: &[u64], served: &mut Served) -> u64 {
        let Some(embeddings) = &self.embeddings else { return 0 };
        let mut wrong = 0;
        for item in items {
            if let Some(difference) = embeddings.load(*item) {
                served.loaded += 1;
                wrong ^= difference;
                continue;
            }
            sleep(self.hand_off.encoding).await;
            served.encoded += 1;
            if self.hand_off.role == Role::Encode {
                embeddings.save(*item);
            }
        }
        wrong
    }
}

// === impl Waits ===

impl<'d> Waits<'d> {
    fn begin(driver: &'d mpsc::UnboundedSender<Message>) -> Self {
        let _ = driver.send(Message::Waits(1));
        Self(driver)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Waits(-1));
    }
}
