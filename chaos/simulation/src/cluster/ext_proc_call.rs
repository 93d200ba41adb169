//! One ext-proc stream, from the gateway's side.
//!
//! Must not know engines or retries. A reply that is late counts as no reply.

use std::net::{AddrParseError, SocketAddr};
use std::time::Duration;

use murmuration_kit::ext_proc::{self, Call, CallError, Reply};
use murmuration_proto::ext_proc::{
    ExternalProcessorClient, HttpHeaders, ProcessingRequest, ProcessingResponse, Request, Response,
};
use murmuration_proto::names;
use tokio::time::timeout;
use tonic::transport::Channel;

/// How long a replica may take to answer a request, or one message of its response.
const PATIENCE: Duration = Duration::from_secs(1);
/// The largest reply that a gateway reads.
const REPLY_BYTES_MAX: usize = 16 << 20;
/// The path of all requests.
const PATH: &str = "/v1/completions";

/// The outcome of one call.
pub(super) enum Answer {
    /// The request goes to this address, these may prefill for it, and the stream is still open.
    Sent(SocketAddr, Vec<SocketAddr>, Box<ExtProcCall>),
    /// The replica refused it, with this status and code.
    Refused(u16, String),
    /// The replica gave no valid answer; the reason.
    Unanswered(&'static str),
}

/// An open stream.
pub(super) struct ExtProcCall(Call);

/// The headers of a request, as the gateway sends them.
pub(super) fn head(id: &str) -> HttpHeaders {
    let pairs = [
        (":authority", "gateway.example.com"),
        (":path", PATH),
        (":method", "POST"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        (names::REQUEST_ID, id),
    ];
    ext_proc::headers(&pairs, false)
}

/// Asks the replica behind `channel` where the request goes.
pub(super) async fn ask(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    timeout(PATIENCE, exchange(channel, id, subset, body)).await.unwrap_or(Answer::Unanswered("too slow"))
}

async fn exchange(channel: Channel, id: &str, subset: &[SocketAddr], body: &[u8]) -> Answer {
    let first = ProcessingRequest { request: Some(Request::RequestHeaders(head(id))), ..Default::default() };
    // The hint is built even if it is not sent: each hash map takes a key, and a seed must keep its trace.
    let first = ext_proc::hinted(ext_proc::full_duplex(first), subset);
    let first = ProcessingRequest { metadata_context: first.metadata_context.filter(|_| !subset.is_empty()), ..first };
    let messages = std::iter::once(first).chain(ext_proc::request_chunks(body)).collect();
    let client = ExternalProcessorClient::new(channel).max_decoding_message_size(REPLY_BYTES_MAX);
    let replied = async {
        let mut call = Call::open(client, messages).await?;
        Ok((call.reply().await?, call))
    };
    match replied.await {
        Ok((Reply::Refused(status, code), _)) => Answer::Refused(status, code),
        Ok((Reply::Sent { destination, prefillers, .. }, call)) => {
            let listed = prefillers.as_deref().map_or(Ok(Vec::new()), addresses);
            match (addresses(&destination).ok().and_then(|all| all.first().copied()), listed) {
                (Some(to), Ok(prefillers)) => Answer::Sent(to, prefillers, Box::new(ExtProcCall(call))),
                _ => Answer::Unanswered("unexpected reply"),
            }
        }
        Err(CallError::NotOpened(_)) => Answer::Unanswered("stream not opened"),
        Err(CallError::Unexpected(_)) => Answer::Unanswered("unexpected reply"),
        Err(CallError::Broken(_) | CallError::Ended) => Answer::Unanswered("stream broken"),
    }
}

/// A list of addresses with commas.
fn addresses(list: &str) -> Result<Vec<SocketAddr>, AddrParseError> {
    list.split(',').map(str::parse).collect()
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
        let content_type = if streamed { "text/event-stream" } else { "application/json" };
        let headers = ext_proc::response_headers(&[(":status", "200"), ("content-type", content_type)], false);
        let _ = self.0.send(ext_proc::served(headers, served)).await;
        match self.receive().await? {
            Some(ProcessingResponse { response: Some(Response::ResponseHeaders(_)), .. }) => Ok(Some(self)),
            Some(_) => Err(()),
            None => Ok(None),
        }
    }

    /// Sends a chunk of the response body, and waits until it comes back.
    pub(super) async fn chunk(&mut self, bytes: &[u8], end: bool) -> Result<(), ()> {
        let sent = self.0.send(ext_proc::response_body(bytes, end)).await;
        match self.receive().await? {
            Some(reply) if sent && ext_proc::piece(&reply).is_some() => Ok(()),
            _ => Err(()),
        }
    }

    async fn receive(&mut self) -> Result<Option<ProcessingResponse>, ()> {
        timeout(PATIENCE, self.0.receive()).await.map_err(drop)?.map_err(drop)
    }
}
