//! A way through Envoy to the engines, and one request on it.
//!
//! Must not know what is measured. An answer that is not the engine's is a failure. So is a request that passed a
//! picker where it should not, or passed none where it should.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::engines::{CHUNKS, DESTINED};
use crate::{Failure, body};
use murmuration_kit::client::Client;

/// The path of all requests.
const PATH: &str = "/v1/chat/completions";

/// A way to the engines.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The picker on this way.
    pub(super) picker: &'static str,
    /// The response path, `stay` or `leave`; `None` without a picker.
    pub(super) response_path: Option<&'static str>,
    /// The process of Envoy.
    pub(super) envoy_pid: u32,
    /// The picker's process.
    pub(super) picker_pid: Option<u32>,
    client: Arc<Client>,
}

/// What the requests look like.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientRequest {
    /// Size of a request's body.
    pub(super) body_bytes: usize,
    /// Chunks of the streamed answer; zero is one document.
    pub(super) chunks: usize,
    /// The number of the next request, so that each prompt is new.
    pub(super) next: u64,
}

// === impl Way ===

impl Way {
    /// A way that begins at `entrance`.
    pub(crate) fn new(
        picker: &'static str,
        response_path: Option<&'static str>,
        entrance: SocketAddr,
        envoy_pid: u32,
        picker_pid: Option<u32>,
    ) -> Self {
        Self { picker, response_path, envoy_pid, picker_pid, client: Arc::new(Client::new(entrance)) }
    }

    /// Sends a request of `body` and reads the answer to its end. Returns the time that both took.
    pub(crate) async fn ask(&self, body: Bytes, chunks: usize) -> Result<Duration, Failure> {
        let count = chunks.to_string();
        let answer = self.client.post(PATH, body, &[(CHUNKS, &count)]).await;
        let answer = answer.map_err(|why| self.failed(&why.to_string()))?;
        if answer.status != StatusCode::OK {
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(self.failed(&format!("answered {}: {text:.200}", answer.status)));
        }
        let destined = answer.header(DESTINED) == Some("true");
        if destined != self.picker_pid.is_some() {
            let what = if destined { "a picker sent it somewhere" } else { "no picker sent it anywhere" };
            return Err(self.failed(what));
        }
        Ok(answer.total)
    }

    fn failed(&self, why: &str) -> Failure {
        let Self { picker, response_path, .. } = self;
        let path = response_path.map_or_else(String::new, |path| format!(", response path {path}"));
        format!("picker {picker}{path}: POST {PATH} of {}: {why}", self.client.address())
    }
}

// === impl ClientRequest ===

impl ClientRequest {
    /// The body of the request with this number.
    pub(super) fn body(&self, number: u64) -> Bytes {
        body::chat(self.body_bytes, number, self.chunks > 0).into()
    }
}
