//! One request from Envoy's side: its headers and body, and its answer if the server stays on the response path.
//!
//! Must not know which server it calls. A server that ends its stream after the request has left the response path, and
//! is sent no more. Any other deviation is a failure.

use std::time::Duration;

use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse, Response};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::message;
use crate::{Failure, body};

/// Envoy sends a body in chunks of this size at most.
const CHUNK_BYTES: usize = 64 << 10;
/// How long to wait for a reply.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is sent on each stream.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    body_bytes: usize,
    streamed: bool,
    answer: Vec<Vec<u8>>,
    window: usize,
    held: Duration,
}

/// An open stream.
struct ExtProcStream {
    outbound: mpsc::Sender<ProcessingRequest>,
    inbound: Streaming<ProcessingResponse>,
}

// === impl Plan ===

impl Plan {
    /// A body of `body_bytes`, then an answer in `chunks` events, or in one short document if `chunks` is 0.
    pub(crate) fn new(body_bytes: usize, chunks: usize, window: usize) -> Self {
        let streamed = chunks > 0;
        let answer = if streamed { body::events(chunks) } else { vec![body::answer()] };
        Self { body_bytes, streamed, answer, window: window.max(1), held: Duration::ZERO }
    }

    /// The same with an engine that takes this long before it answers.
    pub(crate) fn held(self, held: Duration) -> Self {
        Self { held, ..self }
    }
}

/// Runs the whole exchange of request `number`. Returns the time from its first message until all of the request has
/// come back, which includes the decision.
pub(crate) async fn exchange(
    client: &mut ExternalProcessorClient<Channel>,
    plan: &Plan,
    number: u64,
) -> Result<Duration, Failure> {
    let began = Instant::now();
    let body = body::chat(plan.body_bytes, number, plan.streamed);
    let count = body.len().div_ceil(CHUNK_BYTES);
    let (outbound, messages) = mpsc::channel(count + 1 + plan.window);
    let failed = |_| "the stream broke while the request was sent".to_owned();
    outbound.send(message::request_headers(number, body.len())).await.map_err(failed)?;
    for (i, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        outbound.send(message::request_body(chunk, i + 1 == count)).await.map_err(failed)?;
    }
    let opened = client.process(ReceiverStream::new(messages)).await;
    let inbound = opened.map_err(|status| format!("the server refused the stream: {status}"))?.into_inner();
    let mut exchange = ExtProcStream { outbound, inbound };
    let served = exchange.request_returned(body.len()).await?;
    let decided = began.elapsed();
    if !plan.held.is_zero() {
        sleep(plan.held).await;
    }
    exchange.answer(plan, &served).await?;
    Ok(decided)
}

// === impl ExtProcStream ===

impl ExtProcStream {
    /// Reads until the whole request has come back; returns its destination.
    async fn request_returned(&mut self, bytes: usize) -> Result<String, Failure> {
        let first = self.receive().await?.ok_or("the server ended the stream without a reply")?;
        let destination = message::destination(&first).map(str::to_owned);
        let destination = destination.ok_or_else(|| format!("no destination in the first reply: {first:?}"))?;
        let mut left = bytes;
        loop {
            let reply = self.receive().await?.ok_or("the server ended the stream in the middle of the request")?;
            let piece = message::piece(&reply).ok_or_else(|| format!("no piece of the body: {reply:?}"))?;
            left = left.checked_sub(piece.body.len()).ok_or("the request came back longer than it was")?;
            match (piece.end_of_stream, left) {
                (true, 0) => return Ok(destination),
                (true, lost) => return Err(format!("the request came back without its last {lost} bytes")),
                (false, _) => {}
            }
        }
    }

    /// Sends the answer chunk by chunk, unless the server left.
    async fn answer(mut self, plan: &Plan, served: &str) -> Result<(), Failure> {
        if !self.send(message::response_headers(plan.streamed, served)).await {
            return self.ended().await;
        }
        match self.receive().await? {
            Some(ProcessingResponse { response: Some(Response::ResponseHeaders(_)), .. }) => {}
            Some(other) => return Err(format!("no answer to the response's headers: {other:?}")),
            None => return Ok(()),
        }
        let (mut sent, count) = (0, plan.answer.len());
        for received in 0..count {
            while sent < count && sent < received + plan.window {
                let chunk = message::response_body(&plan.answer[sent], sent + 1 == count);
                sent += 1;
                if !self.send(chunk).await {
                    return Err("the server left in the middle of an answer".to_owned());
                }
            }
            let reply = self.receive().await?.ok_or("the server ended the stream in the middle of an answer")?;
            let piece = message::piece(&reply).ok_or_else(|| format!("no piece of the answer: {reply:?}"))?;
            if piece.body.len() != plan.answer[received].len() {
                return Err(format!("a chunk of the answer came back with {} bytes", piece.body.len()));
            }
        }
        self.ended().await
    }

    /// Closes the sending side, and checks that the server ends the stream without further replies.
    async fn ended(mut self) -> Result<(), Failure> {
        let (closed, _) = mpsc::channel(1);
        self.outbound = closed;
        match self.receive().await? {
            None => Ok(()),
            Some(more) => Err(format!("a reply too many: {more:?}")),
        }
    }

    /// Sends a message; `false` if the stream has closed.
    async fn send(&self, message: ProcessingRequest) -> bool {
        self.outbound.send(message).await.is_ok()
    }

    async fn receive(&mut self) -> Result<Option<ProcessingResponse>, Failure> {
        let reply = timeout(PATIENCE, self.inbound.message()).await;
        let reply = reply.map_err(|_| format!("the server sent nothing for {PATIENCE:?}"))?;
        reply.map_err(|status| format!("the stream broke: {status}"))
    }
}
