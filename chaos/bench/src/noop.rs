//! An ext-proc server that decides nothing: the lower bound of what any picker can cost.
//!
//! It sends bodies back in pieces of at most 62,000 bytes, as a picker must, and gives requests a destination header.
//! It answers each message at once and buffers nothing.
//!
//! Must not know the protocol's order, and must not read bodies.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use murmuration_proto::ext_proc::{
    BodyMutation, BodyResponse, CommonResponse, ExternalProcessor, ExternalProcessorServer, HeaderAppendAction,
    HeaderMutation, HeaderValue, HeaderValueOption, HeadersResponse, HttpBody, Mutation, ProcessingRequest,
    ProcessingResponse, Request, Response, StreamedBodyResponse, TrailersResponse,
};
use murmuration_proto::names;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Status, Streaming};

/// Some Envoy versions take no more than 64 KiB in one streamed chunk.
const PIECE_BYTES: usize = 62_000;

/// The server; sends every request to one destination.
#[derive(Clone, Debug)]
pub(crate) struct Noop {
    destination: String,
}

/// One stream, whose messages are echoed.
#[derive(Debug)]
pub(crate) struct Echo {
    noop: Noop,
    inbound: Streaming<ProcessingRequest>,
    replies: Replies,
}

type Replies = VecDeque<ProcessingResponse>;

/// Serves on loopback until standard input ends. Prints its address in one line on standard error, as a replica does.
///
/// # Errors
/// When the port can't be bound, or the server fails.
pub(crate) async fn serve(port: u16) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let listener = TcpListener::bind(address).await.map_err(|why| format!("can't listen on {address}: {why}"))?;
    let address = listener.local_addr().map_err(|why| format!("no address of my own: {why}"))?;
    eprintln!("{}", serde_json::json!({"message": "started", "ext_proc": address.to_string()}));
    let stdin_ended = async {
        let mut some = [0; 64];
        let mut stdin = tokio::io::stdin();
        while stdin.read(&mut some).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        served = run(listener, Noop::new("127.0.0.1:9")) => served.map_err(|why| format!("the no-op server ended: {why}")),
        () = stdin_ended => Ok(()),
    }
}

/// Serves `noop` on `listener`, with the same windows as a replica's server.
///
/// # Errors
/// When the transport fails.
pub(crate) async fn run(listener: TcpListener, noop: Noop) -> Result<(), tonic::transport::Error> {
    let service = ExternalProcessorServer::new(noop).max_decoding_message_size(usize::MAX);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = Server::builder().initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
    let mut router = router.max_concurrent_streams(100_000);
    router.add_service(service).serve_with_incoming(incoming).await
}

// === impl Noop ===

impl Noop {
    /// A server that sends every request to `destination`, `ip:port`.
    pub(crate) fn new(destination: impl Into<String>) -> Self {
        Self { destination: destination.into() }
    }

    fn reply(&self, message: ProcessingRequest, replies: &mut Replies) -> Result<(), Status> {
        let response = match message.request {
            Some(Request::RequestHeaders(_)) => Response::RequestHeaders(self.headers_with_destination()),
            Some(Request::RequestBody(body)) => {
                replies.extend(pieces(body).map(Response::RequestBody).map(whole));
                return Ok(());
            }
            Some(Request::ResponseBody(body)) => {
                replies.extend(pieces(body).map(Response::ResponseBody).map(whole));
                return Ok(());
            }
            Some(Request::RequestTrailers(_)) => Response::RequestTrailers(TrailersResponse::default()),
            Some(Request::ResponseHeaders(_)) => Response::ResponseHeaders(HeadersResponse::default()),
            Some(Request::ResponseTrailers(_)) => Response::ResponseTrailers(TrailersResponse::default()),
            None => return Err(Status::invalid_argument("a message without content")),
        };
        replies.push_back(whole(response));
        Ok(())
    }

    fn headers_with_destination(&self) -> HeadersResponse {
        let header = HeaderValueOption {
            header: Some(HeaderValue {
                key: names::DESTINATION.to_owned(),
                raw_value: self.destination.clone().into_bytes(),
                ..Default::default()
            }),
            append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
            ..Default::default()
        };
        let mutation = HeaderMutation { set_headers: vec![header], remove_headers: Vec::new() };
        let common = CommonResponse { header_mutation: Some(mutation), clear_route_cache: true, ..Default::default() };
        HeadersResponse { response: Some(common) }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for Noop {
    type ProcessStream = Echo;

    async fn process(
        &self,
        request: tonic::Request<Streaming<ProcessingRequest>>,
    ) -> Result<tonic::Response<Echo>, Status> {
        let (noop, inbound) = (self.clone(), request.into_inner());
        Ok(tonic::Response::new(Echo { noop, inbound, replies: VecDeque::new() }))
    }
}

impl Stream for Echo {
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(reply) = this.replies.pop_front() {
                return Poll::Ready(Some(Ok(reply)));
            }
            match ready!(Pin::new(&mut this.inbound).poll_next(cx)) {
                Some(Ok(message)) => this.noop.reply(message, &mut this.replies)?,
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Splits a chunk into pieces that Envoy takes; the first piece is not copied.
fn pieces(chunk: HttpBody) -> impl Iterator<Item = BodyResponse> {
    let HttpBody { mut body, end_of_stream, .. } = chunk;
    let rest = body.get(PIECE_BYTES..).unwrap_or_default();
    let rest: Vec<Vec<u8>> = rest.chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect();
    body.truncate(PIECE_BYTES);
    let bodies: Vec<Vec<u8>> = std::iter::once(body).chain(rest).collect();
    let last = bodies.len() - 1;
    bodies.into_iter().enumerate().map(move |(i, body)| {
        let streamed = StreamedBodyResponse { body, end_of_stream: end_of_stream && i == last, ..Default::default() };
        let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
        BodyResponse { response: Some(CommonResponse { body_mutation: Some(mutation), ..Default::default() }) }
    })
}

fn whole(response: Response) -> ProcessingResponse {
    ProcessingResponse { response: Some(response), ..Default::default() }
}
