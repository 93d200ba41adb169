//! Engines that answer at once, so that their own time does not hide what a picker adds.
//!
//! Each has a metrics page, for the replicas that poll it. A header of the answer shows whether the request had a
//! destination.
//!
//! Must not know pickers.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use http::{HeaderMap, header};
use murmuration_proto::names;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;

use crate::pages::CAPTURED;
use crate::{Failure, body};

/// The header of a request with the number of chunks that its answer must have.
pub(crate) const CHUNKS: &str = "x-bench-chunks";
/// The header of an answer that shows whether its request named a destination.
pub(super) const DESTINED: &str = "x-bench-destined";
/// Number of engines.
const ENGINES: usize = 4;

/// The engines; they stop when dropped.
#[derive(Debug)]
pub(crate) struct Engines {
    /// Where they serve.
    pub(crate) addresses: Vec<SocketAddr>,
    _servers: JoinSet<()>,
}

/// What the engines serve.
#[derive(Clone, Debug)]
struct Content {
    page: Bytes,
    answer: Bytes,
    /// From one chunk of an answer to the next.
    pause: Duration,
}

// === impl Engines ===

impl Engines {
    /// Serves on loopback; a streamed answer's chunks are `pause` apart.
    pub(crate) async fn serve(pause: Duration) -> Result<Self, Failure> {
        let page = std::fs::read(Path::new(CAPTURED)).map_err(|why| format!("can't read {CAPTURED}: {why}"))?;
        let content = Content { page: page.into(), answer: body::answer().into(), pause };
        let router = Router::new()
            .route("/metrics", get(|State(content): State<Content>| async move { content.page }))
            .route("/health", get(|| async {}))
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(content);
        let (mut addresses, mut servers) = (Vec::new(), JoinSet::new());
        for _ in 0..ENGINES {
            let cant = |why| format!("can't listen on loopback: {why}");
            let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cant)?;
            addresses.push(listener.local_addr().map_err(cant)?);
            let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
            let served = axum::serve(listener, router.clone()).into_future();
            servers.spawn(async move { drop(served.await) });
        }
        Ok(Self { addresses, _servers: servers })
    }
}

/// Reads the whole request first, as an engine must.
async fn answer(State(content): State<Content>, headers: HeaderMap, _body: Bytes) -> Response {
    let chunks = headers.get(CHUNKS).and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    let destined = headers.contains_key(names::DESTINATION).to_string();
    if chunks == 0 {
        let kind = [(header::CONTENT_TYPE.as_str(), "application/json"), (DESTINED, &destined)];
        return (kind, content.answer).into_response();
    }
    let kind = [(header::CONTENT_TYPE.as_str(), "text/event-stream; charset=utf-8"), (DESTINED, &destined)];
    let events = tokio_stream::iter(body::events(chunks)).throttle(content.pause).map(Ok::<_, Infallible>);
    (kind, Body::from_stream(events)).into_response()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use murmuration_kit::client::Client;

    #[tokio::test]
    async fn an_answer_has_the_requested_chunks_and_shows_the_destination() {
        let engines = Engines::serve(Duration::ZERO).await.unwrap();
        let client = Client::new(engines.addresses[3]);
        let whole = client.post("/v1/chat/completions", "{}", &[]).await.unwrap();
        assert_eq!((whole.header(DESTINED), whole.body.to_vec()), (Some("false"), body::answer()));
        let headers = [(CHUNKS, "5"), (names::DESTINATION, "127.0.0.1:1")];
        let streamed = client.post("/v1/chat/completions", "{}", &headers).await.unwrap();
        assert_eq!((streamed.header(DESTINED), streamed.body.to_vec()), (Some("true"), body::events(5).concat()));
    }

    #[tokio::test]
    async fn an_engine_has_the_pages_that_a_testbed_reads() {
        let engines = Engines::serve(Duration::ZERO).await.unwrap();
        let client = Client::new(engines.addresses[0]);
        assert!(client.get("/health").await.unwrap().status.is_success());
        assert!(client.get("/metrics").await.unwrap().body.starts_with(b"# HELP"));
    }
}
