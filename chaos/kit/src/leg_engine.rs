//! An engine of one leg on loopback, for tests: it records what it is asked, answers as the test says, and notices clients
//! that leave.
//!
//! Must not know sidecars.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The longest wait for anything; a test that waits longer fails.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A request that the engine received.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What the engine does with a request.
#[derive(Debug)]
pub enum Reply {
    /// Answers at once, with this status and these headers.
    Whole(u16, Vec<(&'static str, &'static str)>, String),
    /// Begins a stream of events with the status 200, and sends what comes from the channel until it is closed.
    Events(mpsc::UnboundedReceiver<String>),
    /// The same with these headers.
    Pieces(Vec<(&'static str, &'static str)>, mpsc::UnboundedReceiver<String>),
    /// Answers with this, once the sender is used or dropped.
    After(tokio::sync::oneshot::Receiver<()>, Box<Reply>),
    /// Keeps the client waiting.
    Never,
    /// Breaks the connection.
    Break,
}

type Answering = dyn Fn(&Received) -> Reply + Send + Sync;

/// A running engine. It stops when dropped.
#[derive(Debug)]
pub struct LegEngine {
    /// Where it listens.
    pub address: SocketAddr,
    seen: watch::Receiver<Seen>,
    _server: JoinSet<()>,
}

/// What the engine has seen.
#[derive(Clone, Debug, Default)]
struct Seen {
    received: Vec<Received>,
    /// Requests whose client left before the answer's end.
    abandoned: usize,
}

/// One request; dropped before its end, it counts as abandoned.
struct Open {
    seen: Arc<Mutex<watch::Sender<Seen>>>,
    ended: bool,
}

/// An answer's body and its request.
struct AnswerBody {
    pieces: Option<mpsc::UnboundedReceiver<String>>,
    open: Open,
}

// === impl Reply ===

impl Reply {
    /// A JSON answer with the status 200.
    pub fn json(text: impl Into<String>) -> Self {
        Self::Whole(200, vec![("content-type", "application/json")], text.into())
    }

    /// An error in the form of OpenAI's API.
    pub fn error(status: u16) -> Self {
        let text = format!(r#"{{"error":{{"message":"as told","type":"x","param":null,"code":{status}}}}}"#);
        Self::Whole(status, vec![("content-type", "application/json")], text)
    }
}

// === impl Received ===

impl Received {
    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|why| panic!("{why}: {:?}", self.body))
    }

    /// The only value of a header, if it is there.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        assert!(values.next().is_none(), "{name} is there once");
        value
    }
}

// === impl LegEngine ===

impl LegEngine {
    /// Starts an engine at a free port.
    pub async fn start(answering: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answering)
    }

    /// Starts two engines at neighbouring ports, which answer every request with this JSON.
    pub async fn neighbours(json: &'static str) -> [Self; 2] {
        for _ in 0..100 {
            let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = one.local_addr().unwrap();
            let next = SocketAddr::new(address.ip(), address.port().wrapping_add(1));
            if let Ok(other) = TcpListener::bind(next).await {
                return [one, other].map(|listener| Self::start_on(listener, move |_| Reply::json(json)));
            }
        }
        panic!("two free ports beside each other")
    }

    fn start_on(listener: TcpListener, answering: impl Fn(&Received) -> Reply + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (seen, known) = watch::channel(Seen::default());
        let (seen, answering): (_, Arc<Answering>) = (Arc::new(Mutex::new(seen)), Arc::new(answering));
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answering) = (seen.clone(), answering.clone());
                let service = service_fn(move |request| answer(request, seen.clone(), answering.clone()));
                // A broken connection concerns only its client.
                open.spawn(
                    async move { drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await) },
                );
            }
        });
        Self { address, seen: known, _server: server }
    }

    /// An engine that answers every request with this JSON.
    pub async fn answering(json: &'static str) -> Self {
        Self::start(move |_| Reply::json(json)).await
    }

    /// Its address as text.
    pub fn name(&self) -> String {
        self.address.to_string()
    }

    /// All requests so far.
    pub fn received(&self) -> Vec<Received> {
        self.seen.borrow().received.clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    /// Waits until it has received this many requests.
    pub async fn has_received(&self, count: usize) {
        self.wait(&format!("{count} requests"), |seen| seen.received.len() >= count).await;
    }

    /// Waits until this many clients have left before their answer's end.
    pub async fn was_left(&self, count: usize) {
        self.wait(&format!("{count} clients that leave"), |seen| seen.abandoned >= count).await;
    }

    /// Clients that have left before their answer's end.
    pub fn abandoned(&self) -> usize {
        self.seen.borrow().abandoned
    }

    async fn wait(&self, what: &str, until: impl FnMut(&Seen) -> bool) {
        let mut seen = self.seen.clone();
        let waited = timeout(TIMEOUT, seen.wait_for(until)).await;
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "{what} in time; seen: {:?}", self.seen.borrow());
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<watch::Sender<Seen>>>,
    answering: Arc<Answering>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, std::io::Error> {
    let mut open = Open { seen: seen.clone(), ended: false };
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map(ToString::to_string).unwrap_or_default();
    let received = Received { method: head.method, path, headers: head.headers, body };
    let mut reply = answering(&received);
    seen.lock().unwrap().send_modify(|seen| seen.received.push(received));
    while let Reply::After(told, then) = reply {
        let _ = told.await;
        reply = *then;
    }
    let (status, headers, pieces) = match reply {
        Reply::Whole(status, headers, text) => {
            open.ended = true;
            let mut response = Response::new(http_body_util::Full::new(Bytes::from(text)).boxed_unsync());
            *response.status_mut() = status.try_into().unwrap();
            for (name, value) in headers {
                response.headers_mut().append(name, value.parse().unwrap());
            }
            return Ok(response);
        }
        Reply::Events(pieces) => (200, vec![("content-type", "text/event-stream; charset=utf-8")], pieces),
        Reply::Pieces(headers, pieces) => (200, headers, pieces),
        Reply::Never => std::future::pending().await,
        Reply::Break | Reply::After(..) => {
            open.ended = true;
            return Err(std::io::Error::other("as told"));
        }
    };
    let mut response = Response::new(AnswerBody { pieces: Some(pieces), open }.boxed_unsync());
    *response.status_mut() = u16::try_into(status).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    Ok(response)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(pieces) = &mut self.pieces else { return Poll::Ready(None) };
        match pieces.poll_recv(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(piece)) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            Poll::Ready(None) => {
                (self.pieces, self.open.ended) = (None, true);
                Poll::Ready(None)
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if !self.ended {
            self.seen.lock().unwrap().send_modify(|seen| seen.abandoned += 1);
        }
    }
}
