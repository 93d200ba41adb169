//! A client for one request.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A whole answer.
#[derive(Debug)]
pub(super) struct WholeAnswer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// An answer whose head has arrived. A drop closes its connection.
#[derive(Debug)]
pub(super) struct OpenAnswer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Incoming,
}

/// Sends a POST of `body` and waits for the answer's head.
pub(super) async fn begin(address: SocketAddr, path: &str, body: &str) -> OpenAnswer {
    let request = Request::post(path)
        .header("content-type", "application/json")
        .header("x-request-id", "req-1")
        .body(Full::new(Bytes::from(body.to_owned())));
    send(address, request.unwrap()).await
}

/// Sends a POST of `body` and waits for all of the answer.
pub(super) async fn post(address: SocketAddr, path: &str, body: &str) -> WholeAnswer {
    begin(address, path, body).await.rest().await
}

/// Sends a GET and waits for all of the answer.
pub(super) async fn get(address: SocketAddr, path: &str) -> WholeAnswer {
    send(address, Request::get(path).body(Full::default()).unwrap()).await.rest().await
}

async fn send(address: SocketAddr, mut request: Request<Full<Bytes>>) -> OpenAnswer {
    request.headers_mut().insert("host", "engine".parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let (head, body) = sender.send_request(request).await.unwrap().into_parts();
    OpenAnswer { status: head.status, headers: head.headers, body }
}

// === impl OpenAnswer ===

impl OpenAnswer {
    /// The next piece of the body.
    pub(super) async fn piece(&mut self) -> String {
        let frame = self.body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    }

    /// The rest of the answer.
    pub(super) async fn rest(self) -> WholeAnswer {
        let bytes = self.body.collect().await.unwrap().to_bytes();
        WholeAnswer { status: self.status, headers: self.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

// === impl WholeAnswer ===

impl WholeAnswer {
    /// The body, read as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The events of a stream; the last one must be its end.
    pub(super) fn events(&self) -> Vec<Value> {
        let events = self.text.strip_suffix("data: [DONE]\n\n").unwrap();
        let events = events.split("\n\n").filter(|event| !event.is_empty());
        events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect()
    }
}
