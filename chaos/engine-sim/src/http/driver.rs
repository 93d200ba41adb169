//! The task that owns an engine's model. It takes requests from a mailbox, steps the model when a step is due, and
//! sends tokens to the clients' streams.
//!
//! Must not know HTTP. It reads tokio's clock, so it works in a paused runtime.

use std::collections::BTreeMap;
use std::ops::Range;

use murmuration::time::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::fault::{EngineFault, Spoiled, spoil};
use super::kv_cache::{KvCache, KvPart};
use super::kv_params::Remote;
use super::meters::{Answered, Meters, Open};
use super::page;
use crate::EngineConfig;
use crate::model::{Busy, EngineModel, Output, Request};

/// A message to the driver.
#[derive(Debug)]
pub(super) enum Message {
    /// Requests of one client, which are taken all or none.
    Submit(Submission),
    /// A client disconnected before its requests finished.
    GaveUp(Range<u64>),
    /// The web server sent a response.
    Answered(Answered),
    /// Asks for the metrics page.
    Page(oneshot::Sender<Spoiled>),
    /// Sets the engine's fault and replaces the former one.
    Fault(EngineFault),
    /// Asks how many tokens of a prompt are in the cache.
    Cached(Request, oneshot::Sender<usize>),
    /// So many more requests wait for KV of other engines, or fewer.
    Waits(isize),
    /// Another engine reads blocks, of this engine or of another one that it takes it for.
    KvRead(Remote, oneshot::Sender<Option<Vec<u64>>>),
    /// Another engine has the blocks of this request.
    KvTaken(String),
    /// Stops the engine: open requests are aborted, and their channels close.
    Stop,
}

/// Requests of one client.
#[derive(Debug)]
pub(super) struct Submission {
    /// The driver assigns their ids, in a row.
    pub(super) requests: Vec<Request>,
    pub(super) natural: bool,
    pub(super) n: usize,
    /// The part of the first one in a hand-off; of others too if there is nothing in it.
    pub(super) part: KvPart,
    /// Where tokens go. It holds at most the requested tokens. As in a real engine, a slow client blocks no other.
    pub(super) outputs: mpsc::UnboundedSender<Output>,
    /// Where the first id goes.
    pub(super) accepted: oneshot::Sender<Result<u64, Busy>>,
}

/// The driver's state.
#[derive(Debug)]
struct Driver {
    model: EngineModel,
    meters: Meters,
    open: BTreeMap<u64, (Open, mpsc::UnboundedSender<Output>)>,
    next_id: u64,
    fault: EngineFault,
    /// `None` for an engine without a connector.
    kv: Option<KvCache>,
    /// The page that is repeated while the page fault is `Stale`.
    kept: Option<String>,
    /// Time zero of the model.
    epoch: Instant,
    /// The engine's start, in seconds since the Unix epoch.
    started: f64,
}

/// Runs an engine until it receives `Stop` or all senders are dropped. The mailbox needs no bound of its own: each
/// connection has one request at a time, and connections are bounded.
pub(super) async fn run(
    config: EngineConfig,
    started: f64,
    kv: Option<KvCache>,
    mut mailbox: mpsc::UnboundedReceiver<Message>,
) {
    let epoch = Instant::now();
    let mut meters = Meters::new();
    meters.has_connector = kv.is_some();
    let (model, open, fault) = (EngineModel::new(config), BTreeMap::new(), EngineFault::default());
    let mut driver = Driver { model, meters, open, next_id: 1, fault, kv, kept: None, epoch, started };
    loop {
        let due = driver.model.next_event().map(|at| driver.epoch + at.since(Timestamp::ZERO));
        let message = tokio::select! {
            biased;
            message = mailbox.recv() => Some(message),
            () = sleep_until(due.unwrap_or(driver.epoch)), if due.is_some() => None,
        };
        // The clock is read once per turn, so that no message gets a time before that of an earlier output.
        let now = Timestamp::ZERO + driver.epoch.elapsed();
        driver.advance(now);
        match message {
            Some(None | Some(Message::Stop)) => return,
            Some(Some(message)) => driver.take(message, now),
            None => {}
        }
    }
}

// === impl Driver ===

impl Driver {
    /// Steps the model up to `now`, one step after the other, so that each is counted.
    fn advance(&mut self, now: Timestamp) {
        while let Some(end) = self.model.next_event().filter(|end| *end <= now) {
            self.meters.observe("vllm:iteration_tokens_total", self.model.step_tokens() as f64);
            for output in self.model.advance(end) {
                self.hand_out(output);
            }
            self.note_adapters(end);
        }
    }

    fn hand_out(&mut self, mut output: Output) {
        let (id, finished) = (output.id, output.finished);
        let Some((open, outputs)) = self.open.get_mut(&id) else { return };
        if let Some(kv) = &mut self.kv {
            kv.token(&mut output);
        }
        self.meters.token(open, &output);
        // A client that disconnected sends `GaveUp` when its stream is dropped.
        let _ = outputs.send(output);
        if finished {
            self.open.remove(&id);
        }
    }

    fn take(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Submit(submission) => self.submit(submission, now),
            Message::GaveUp(ids) => self.give_up(ids, now),
            Message::Answered(answered) => self.meters.answered(answered),
            Message::Cached(request, reader) => {
                let Request { tokens, adapter, salt, .. } = &request;
                let _ = reader.send(self.model.cached_tokens(tokens, adapter.as_deref(), salt.as_deref()));
            }
            Message::Waits(more) => self.meters.loading = self.meters.loading.saturating_add_signed(more),
            Message::KvRead(remote, reader) => {
                let mut contents = self.kv.as_mut().and_then(|kv| kv.read(&remote, now));
                if self.fault.wrong_kv {
                    contents.iter_mut().flatten().for_each(|content| *content ^= 1);
                }
                let _ = reader.send(contents);
            }
            Message::KvTaken(request) => {
                if let Some(kv) = &mut self.kv {
                    kv.taken(&request);
                }
            }
            Message::Page(reader) => {
                self.meters.kept_blocks = self.kv.as_mut().map_or(0, |kv| kv.kept(now));
                let page = page::render(&self.model, &self.meters, self.started);
                let _ = reader.send(spoil(page, self.fault.page, &mut self.kept));
            }
            Message::Fault(fault) => {
                self.fault = fault;
                self.model.slow_down(fault.slow);
            }
            Message::Stop => {}
        }
    }

    fn submit(&mut self, submission: Submission, now: Timestamp) {
        let Submission { requests, natural, n, part, outputs, accepted } = submission;
        let (first, mut part) = (self.next_id, Some(part));
        for request in requests {
            let id = self.next_id;
            let open = Open::new(now, request.tokens.len(), request.max_tokens, natural, n);
            let received = match &mut self.kv {
                Some(kv) => {
                    let Request { tokens, adapter, salt, .. } = &request;
                    let cached = self.model.cached_tokens(tokens, adapter.as_deref(), salt.as_deref());
                    kv.begin(id, &request, cached, part.take().unwrap_or_default())
                }
                None => 0,
            };
            if let Err(busy) = self.model.receive(Request { id, ..request }, received, now) {
                self.give_up(first..id, now);
                if let Some(kv) = &mut self.kv {
                    kv.give_up(id);
                }
                let _ = accepted.send(Err(busy));
                return;
            }
            self.next_id += 1;
            self.open.insert(id, (open, outputs.clone()));
        }
        self.note_adapters(now);
        if accepted.send(Ok(first)).is_err() {
            self.give_up(first..self.next_id, now);
        }
    }

    fn give_up(&mut self, ids: Range<u64>, now: Timestamp) {
        for id in ids {
            if self.open.remove(&id).is_some() {
                self.model.abort(id);
                if let Some(kv) = &mut self.kv {
                    kv.give_up(id);
                }
            }
        }
        self.note_adapters(now);
    }

    fn note_adapters(&mut self, now: Timestamp) {
        if !self.model.config().adapters.is_empty() {
            self.meters.adapters(&self.model.gauges(), now);
        }
    }
}
