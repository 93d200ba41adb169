//! One request from Envoy's side: its headers and body, and its answer if the server stays on the response path.
//!
//! Must not know which server it calls. A server that ends its stream after the request has left the response path, and
//! is sent no more. Any other deviation is a failure.

use std::time::Duration;

use murmuration_kit::ext_proc::{Call, Reply, piece, request_chunks, response_body};
use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingResponse, Response};
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;

use super::message;
use crate::{Failure, body};

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
    let messages = std::iter::once(message::request_headers(number, body.len())).chain(request_chunks(&body)).collect();
    let mut call = Call::open(client.clone(), messages).await.map_err(|why| why.to_string())?;
    let replied = timeout(PATIENCE, call.reply()).await.map_err(|_| nothing())?;
    let served = match replied.map_err(|why| why.to_string())? {
        Reply::Sent { destination, bytes, .. } if bytes == body.len() => destination,
        Reply::Sent { bytes, .. } => return Err(format!("{bytes} of {} bytes of the request came back", body.len())),
        Reply::Refused(status, code) => return Err(format!("the server refused with {status}, {code}")),
    };
    let decided = began.elapsed();
    if !plan.held.is_zero() {
        sleep(plan.held).await;
    }
    answer(call, plan, &served).await?;
    Ok(decided)
}

/// Sends the answer chunk by chunk, unless the server left.
async fn answer(mut call: Call, plan: &Plan, served: &str) -> Result<(), Failure> {
    if !call.send(message::response_headers(plan.streamed, served)).await {
        return ended(call).await;
    }
    match receive(&mut call).await? {
        Some(ProcessingResponse { response: Some(Response::ResponseHeaders(_)), .. }) => {}
        Some(other) => return Err(format!("no answer to the response's headers: {other:?}")),
        None => return Ok(()),
    }
    let (mut sent, count) = (0, plan.answer.len());
    for received in 0..count {
        while sent < count && sent < received + plan.window {
            let chunk = response_body(&plan.answer[sent], sent + 1 == count);
            sent += 1;
            if !call.send(chunk).await {
                return Err("the server left in the middle of an answer".to_owned());
            }
        }
        let reply = receive(&mut call).await?.ok_or("the server ended the stream in the middle of an answer")?;
        let piece = piece(&reply).ok_or_else(|| format!("no piece of the answer: {reply:?}"))?;
        if piece.body.len() != plan.answer[received].len() {
            return Err(format!("a chunk of the answer came back with {} bytes", piece.body.len()));
        }
    }
    ended(call).await
}

/// Closes the sending side, and checks that the server ends the stream without further replies.
async fn ended(mut call: Call) -> Result<(), Failure> {
    call.close();
    match receive(&mut call).await? {
        None => Ok(()),
        Some(more) => Err(format!("a reply too many: {more:?}")),
    }
}

async fn receive(call: &mut Call) -> Result<Option<ProcessingResponse>, Failure> {
    timeout(PATIENCE, call.receive()).await.map_err(|_| nothing())?.map_err(|why| why.to_string())
}

fn nothing() -> Failure {
    format!("the server sent nothing for {PATIENCE:?}")
}
