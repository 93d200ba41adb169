//! One ext-proc stream, from the gateway's side.
//!
//! Must not know engines or retries. A reply that is late counts as no reply.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse, Response};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::words;

/// How long a replica may take to answer a request, or one message of its response.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest body chunk that a gateway sends.
const CHUNK_BYTES: usize = 64 << 10;

/// The outcome of one call.
pub(super) enum Answer {
    /// The request goes to this address, and the stream is still open.
    Sent(SocketAddr, Box<ExtProcCall>),
    /// The replica refused it, with this status and code.
    Refused(u16, String),
    /// The replica gave no valid answer; the reason.
    Unanswered(&'static str),
}

/// An open stream.
pub(super) struct ExtProcCall {
    outbound: mpsc::Sender<ProcessingRequest>,
    inbound: Streaming<ProcessingResponse>,
}

/// Asks the replica behind `channel` where the request goes.
pub(super) async fn ask(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    timeout(PATIENCE, exchange(channel, id, subset, body)).await.unwrap_or(Answer::Unanswered("too slow"))
}

async fn exchange(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    let count = body.len().div_ceil(CHUNK_BYTES);
    let (outbound, messages) = mpsc::channel(count + 8);
    // The channel has room for all messages, so no send fails.
    let _ = outbound.try_send(words::request_headers(id, subset));
    for (i, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        let _ = outbound.try_send(words::request_body(chunk, i + 1 == count));
    }
    let mut client = ExternalProcessorClient::new(channel).max_decoding_message_size(16 << 20);
    let Ok(opened) = client.process(ReceiverStream::new(messages)).await else {
        return Answer::Unanswered("stream not opened");
    };
    let mut inbound = opened.into_inner();
    let Ok(Some(first)) = inbound.message().await else { return Answer::Unanswered("stream broken") };
    if let Some((status, code)) = words::refusal(&first) {
        return Answer::Refused(status, code);
    }
    let Some(to) = words::destination(&first) else { return Answer::Unanswered("unexpected reply") };
    loop {
        match inbound.message().await {
            Ok(Some(reply)) => match words::piece(&reply) {
                Some(piece) if piece.end_of_stream => {
                    return Answer::Sent(to, Box::new(ExtProcCall { outbound, inbound }));
                }
                Some(_) => {}
                None => return Answer::Unanswered("unexpected reply"),
            },
            Ok(None) | Err(_) => return Answer::Unanswered("stream broken"),
        }
    }
}

// === impl ExtProcCall ===

impl ExtProcCall {
    /// Sends the response headers. `None` if the replica has closed the stream in order, `Err` if the stream broke.
    pub(super) async fn answer_begins(
        mut self: Box<Self>,
        streamed: bool,
        served: &SocketAddr,
    ) -> Result<Option<Box<Self>>, ()> {
        // The send fails if the stream has ended; `receive` tells how it ended.
        let _ = self.outbound.send(words::response_headers(streamed, served)).await;
        match self.receive().await? {
            Some(ProcessingResponse { response: Some(Response::ResponseHeaders(_)), .. }) => Ok(Some(self)),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }

    /// Sends a chunk of the response body, and waits until it comes back.
    pub(super) async fn chunk(&mut self, bytes: Vec<u8>, end: bool) -> Result<(), ()> {
        self.outbound.send(words::response_body(bytes, end)).await.map_err(drop)?;
        match self.receive().await? {
            Some(reply) if words::piece(&reply).is_some() => Ok(()),
            _ => Err(()),
        }
    }

    async fn receive(&mut self) -> Result<Option<ProcessingResponse>, ()> {
        timeout(PATIENCE, self.inbound.message()).await.map_err(drop)?.map_err(drop)
    }
}
