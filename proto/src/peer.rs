//! The peer stream, `murmuration.peer.v1.Flock`: messages, service and client, as `peer.proto` defines them.
//!
//! Must not know what a batch holds, nor who may follow whom. Written by hand in the form of tonic's generated code, so
//! that a build needs no protoc.

use std::convert::Infallible;
use std::sync::Arc;

use tonic::body::Body as Answer;
use tonic::client::{Grpc as Caller, GrpcService};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::codegen::tokio_stream::Stream;
use tonic::codegen::{Body, BoxFuture, Bytes, Context, Poll, Service, StdError, async_trait, http};
use tonic::server::{Grpc, NamedService, ServerStreamingService};
use tonic::{GrpcMethod, Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

const NAME: &str = "murmuration.peer.v1.Flock";
const FOLLOW: &str = "/murmuration.peer.v1.Flock/Follow";

/// Asks a replica for all facts that it publishes.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FollowRequest {
    /// The follower's name. One stream per name, pool and origin: the newest wins.
    #[prost(string, tag = "1")]
    pub replica: String,
    /// The lowest version of the batches' format that the follower reads.
    #[prost(uint32, tag = "2")]
    pub wire_version_min: u32,
    /// The highest version.
    #[prost(uint32, tag = "3")]
    pub wire_version_max: u32,
    /// The incarnation of the called replica that `after` belongs to. For another incarnation, the stream begins at 0.
    #[prost(uint64, tag = "4")]
    pub incarnation: u64,
    /// The number up to which the follower has received all facts; 0 asks for the whole state.
    #[prost(uint64, tag = "5")]
    pub after: u64,
    /// Whether the follower joins and wants the history: cache losses, placements and session bindings of any replica.
    #[prost(bool, tag = "6")]
    pub history: bool,
    /// The pool whose facts are asked for; empty for the pool `default`.
    #[prost(string, tag = "7")]
    pub pool: String,
    /// The replica whose facts are asked for, where the called one relays them; empty for its own.
    #[prost(string, tag = "8")]
    pub origin: String,
}

/// A greeting first, then batches.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FollowReply {
    /// In the greeting: the incarnation of the called replica.
    #[prost(uint64, tag = "1")]
    pub incarnation: u64,
    /// In the greeting: the number of its last fact when the stream was opened.
    #[prost(uint64, tag = "2")]
    pub head: u64,
    /// After the greeting: facts, as the core's codec writes them.
    #[prost(bytes = "bytes", tag = "3")]
    pub batch: Bytes,
    /// After the greeting, when it was asked for: history, as the core's codec writes it.
    #[prost(bytes = "bytes", tag = "4")]
    pub history: Bytes,
}

/// One replica, as its followers call it.
#[async_trait]
pub trait Replication: Send + Sync + 'static {
    /// What a follower gets.
    type FollowStream: Stream<Item = Result<FollowReply, Status>> + Send + 'static;

    /// Streams all facts that this replica publishes, until one side goes away.
    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Self::FollowStream>, Status>;
}

/// Serves a [`Replication`].
#[derive(Debug)]
pub struct ReplicationServer<T> {
    inner: Arc<T>,
    request_bytes_max: usize,
}

/// Calls a [`Replication`].
#[derive(Clone, Debug)]
pub struct ReplicationClient<T> {
    inner: Caller<T>,
}

struct Follow<T>(Arc<T>);

// === impl ReplicationServer ===

impl<T> ReplicationServer<T> {
    /// A server that reads requests of at most `request_bytes_max` bytes.
    pub fn new(inner: T, request_bytes_max: usize) -> Self {
        Self { inner: Arc::new(inner), request_bytes_max }
    }
}

impl<T> Clone for ReplicationServer<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), request_bytes_max: self.request_bytes_max }
    }
}

impl<T> NamedService for ReplicationServer<T> {
    const NAME: &'static str = NAME;
}

impl<T: Replication, B> Service<http::Request<B>> for ReplicationServer<T>
where
    B: Body + Send + 'static,
    B::Error: Into<StdError> + Send + 'static,
{
    type Response = http::Response<Answer>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        if request.uri().path() != FOLLOW {
            return Box::pin(async { Ok(Status::unimplemented("only Follow is served here").into_http()) });
        }
        let (method, most) = (Follow(self.inner.clone()), self.request_bytes_max);
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::default()).max_decoding_message_size(most);
            Ok(grpc.server_streaming(method, request).await)
        })
    }
}

impl<T: Replication> ServerStreamingService<FollowRequest> for Follow<T> {
    type Response = FollowReply;
    type ResponseStream = T::FollowStream;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, request: Request<FollowRequest>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.follow(request).await })
    }
}

// === impl ReplicationClient ===

impl<T> ReplicationClient<T>
where
    T: GrpcService<Answer>,
    T::Error: Into<StdError>,
    T::ResponseBody: Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as Body>::Error: Into<StdError> + Send,
{
    /// A client that reads replies of at most `reply_bytes_max` bytes.
    pub fn new(channel: T, reply_bytes_max: usize) -> Self {
        Self { inner: Caller::new(channel).max_decoding_message_size(reply_bytes_max) }
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// What the replica answers, see `peer.proto`; or the transport's error.
    pub async fn follow(&mut self, request: FollowRequest) -> Result<Streaming<FollowReply>, Status> {
        let unready = |error: T::Error| Status::unavailable(format!("the peer is not ready: {}", error.into()));
        self.inner.ready().await.map_err(unready)?;
        let mut request = Request::new(request);
        request.extensions_mut().insert(GrpcMethod::new(NAME, "Follow"));
        let path = PathAndQuery::from_static(FOLLOW);
        self.inner.server_streaming(request, path, ProstCodec::default()).await.map(Response::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn the_bytes_of_a_request_are_those_of_the_written_contract() {
        let request = FollowRequest {
            replica: "a".into(),
            wire_version_min: 1,
            wire_version_max: 2,
            incarnation: 300,
            after: 5,
            history: false,
            pool: String::new(),
            origin: String::new(),
        };
        let bytes = [0x0a, 1, b'a', 0x10, 1, 0x18, 2, 0x20, 0xac, 2, 0x28, 5];
        assert_eq!(request.encode_to_vec(), bytes);
        assert_eq!(FollowRequest::decode(bytes.as_slice()), Ok(request.clone()));
        let of_pool = FollowRequest { pool: "b".into(), ..request };
        assert_eq!(of_pool.encode_to_vec(), [&bytes[..], &[0x3a, 1, b'b']].concat());
        let relayed = FollowRequest { origin: "c".into(), ..of_pool };
        assert_eq!(relayed.encode_to_vec(), [&bytes[..], &[0x3a, 1, b'b', 0x42, 1, b'c']].concat());
    }

    #[test]
    fn the_bytes_of_a_reply_are_those_of_the_written_contract() {
        let reply = FollowReply { incarnation: 7, head: 9, batch: Bytes::from_static(&[1, 2]), history: Bytes::new() };
        let bytes = [0x08, 7, 0x10, 9, 0x1a, 2, 1, 2];
        assert_eq!(reply.encode_to_vec(), bytes);
        assert_eq!(FollowReply::decode(bytes.as_slice()), Ok(reply));
    }

    #[test]
    fn a_field_of_a_later_release_is_skipped() {
        let bytes = [0x08, 7, 0x7a, 1, 0xff];
        assert_eq!(FollowReply::decode(bytes.as_slice()).map(|reply| reply.incarnation), Ok(7));
    }
}
