//! A way through Envoy to the engines, and one request on it.
//!
//! Must not know what is measured. An answer that is not the engine's, or a request that passed a picker where it
//! should not have, or did not where it should, is a failure.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::engines::{CHUNKS, DESTINED};
use crate::bench::{Failure, body};
use crate::client::Client;

/// The route that is asked.
const PATH: &str = "/v1/chat/completions";

/// A way to the engines.
#[derive(Clone, Debug)]
pub(in crate::bench) struct Way {
    /// Which picker is on it.
    pub(super) picker: &'static str,
    /// Whether answers are shown to it; `None` without a picker.
    pub(super) response_path: Option<&'static str>,
    /// The process of Envoy.
    pub(super) envoy_pid: u32,
    /// The picker's process.
    pub(super) picker_pid: Option<u32>,
    client: Arc<Client>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Errand {
    /// Size of a request's body.
    pub(super) body_bytes: usize,
    /// Chunks of the streamed answer; zero is one document.
    pub(super) chunks: usize,
    /// The number of the next request: each prompt is new to all.
    pub(super) next: u64,
}

// === impl Way ===

impl Way {
    /// A way that begins at `entrance`.
    pub(in crate::bench) fn new(
        picker: &'static str,
        response_path: Option<&'static str>,
        entrance: SocketAddr,
        envoy_pid: u32,
        picker_pid: Option<u32>,
    ) -> Self {
        Self { picker, response_path, envoy_pid, picker_pid, client: Arc::new(Client::new(entrance)) }
    }

    /// Sends a request of `body` and reads the answer to its end. Gives the time that both took.
    pub(in crate::bench) async fn ask(&self, body: Bytes, chunks: usize) -> Result<Duration, Failure> {
        let count = chunks.to_string();
        let answer = self.client.post(PATH, body, &[(CHUNKS, &count)]).await;
        let answer = answer.map_err(|why| self.failed(&why.to_string()))?;
        if answer.status != StatusCode::OK {
            let told = String::from_utf8_lossy(&answer.body).into_owned();
            return Err(self.failed(&format!("answered {}: {told:.200}", answer.status)));
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

// === impl Errand ===

impl Errand {
    /// The body of the request with this number.
    pub(super) fn body(&self, number: u64) -> Bytes {
        body::chat(self.body_bytes, number, self.chunks > 0).into()
    }
}
