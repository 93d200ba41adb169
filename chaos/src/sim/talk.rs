//! One ext-proc stream from the gateway's side.
//!
//! Must not know engines or retries. Whatever does not come in time does not come.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse, Response};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use super::words;

/// How long a replica may take for one word.
const PATIENCE: Duration = Duration::from_secs(1);
/// A gateway shows a body in chunks of this size at most.
const CHUNK_BYTES: usize = 64 << 10;

/// What a replica answered.
pub(super) enum Answer {
    /// The request goes there, and the stream is still open.
    Sent(SocketAddr, Box<Talk>),
    /// It is refused, with this status and code.
    Refused(u16, String),
    /// It did not answer.
    Unanswered(&'static str),
}

/// An open stream.
pub(super) struct Talk {
    outbound: mpsc::Sender<ProcessingRequest>,
    inbound: Streaming<ProcessingResponse>,
}

/// Asks over `channel` where the request goes.
pub(super) async fn ask(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    timeout(PATIENCE, asked(channel, id, subset, body)).await.unwrap_or(Answer::Unanswered("too slow"))
}

async fn asked(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    let count = body.len().div_ceil(CHUNK_BYTES);
    let (outbound, messages) = mpsc::channel(count + 8);
    // There is room for all of them, so none waits and none is lost.
    let _ = outbound.try_send(words::request_headers(id, subset));
    for (i, chunk) in body.chunks(CHUNK_BYTES).enumerate() {
        let _ = outbound.try_send(words::request_body(chunk, i + 1 == count));
    }
    let mut client = ExternalProcessorClient::new(channel).max_decoding_message_size(16 << 20);
    let Ok(opened) = client.process(ReceiverStream::new(messages)).await else {
        return Answer::Unanswered("not there");
    };
    let mut inbound = opened.into_inner();
    let Ok(Some(first)) = inbound.message().await else { return Answer::Unanswered("broke off") };
    if let Some((status, code)) = words::refusal(&first) {
        return Answer::Refused(status, code);
    }
    let Some(to) = words::destination(&first) else { return Answer::Unanswered("said something else") };
    loop {
        match inbound.message().await {
            Ok(Some(reply)) => match words::piece(&reply) {
                Some(piece) if piece.end_of_stream => return Answer::Sent(to, Box::new(Talk { outbound, inbound })),
                Some(_) => {}
                None => return Answer::Unanswered("said something else"),
            },
            Ok(None) | Err(_) => return Answer::Unanswered("broke off"),
        }
    }
}

// === impl Talk ===

impl Talk {
    /// Shows the answer's headers; `None` when the replica has left in order, `Err` when the stream broke.
    pub(super) async fn answer_begins(
        mut self: Box<Self>,
        streamed: bool,
        served: &SocketAddr,
    ) -> Result<Option<Box<Self>>, ()> {
        // A stream that has ended takes nothing; how it ended is heard.
        let _ = self.outbound.send(words::response_headers(streamed, served)).await;
        match self.receive().await? {
            Some(ProcessingResponse { response: Some(Response::ResponseHeaders(_)), .. }) => Ok(Some(self)),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }

    /// Shows a chunk of the answer, and waits until it comes back.
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
