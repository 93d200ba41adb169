//! One ext-proc stream to a replica, from Envoy's side, for tests: it panics where a test expects something else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use murmuration_proto::ext_proc::{ExternalProcessorClient, ProcessingRequest, ProcessingResponse};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

/// The longest wait for an answer. A test that waits longer fails; no test passes by waiting.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// An open stream.
pub struct ExtProcStream {
    outbound: Option<mpsc::Sender<ProcessingRequest>>,
    opening: Option<JoinHandle<Result<Response<Streaming<ProcessingResponse>>, Status>>>,
    inbound: Option<Streaming<ProcessingResponse>>,
}

// === impl ExtProcStream ===

impl ExtProcStream {
    /// Opens a stream. The call waits in the background, because the replica's first message may take long.
    pub fn open(mut client: ExternalProcessorClient<Channel>) -> Self {
        let (outbound, messages) = mpsc::channel(16);
        let opening = tokio::spawn(async move { client.process(ReceiverStream::new(messages)).await });
        Self { outbound: Some(outbound), opening: Some(opening), inbound: None }
    }

    /// Sends a message. A message that comes too late for the stream is lost, as it is with Envoy.
    pub async fn send(&self, message: ProcessingRequest) {
        let _ = self.outbound.as_ref().expect("the stream is open").send(message).await;
    }

    /// The next message of the replica; `None` when the stream ended in order.
    pub async fn receive(&mut self) -> Option<ProcessingResponse> {
        self.next().await.expect("the stream ends in order")
    }

    /// The next message. The stream must not have ended.
    pub async fn answer(&mut self) -> ProcessingResponse {
        self.receive().await.expect("an answer")
    }

    /// The next message, `None` at the end, or the error of the stream.
    pub async fn next(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        timeout(TIMEOUT, self.next_unbounded()).await.expect("an answer in time")
    }

    /// Sends a request with this body. Returns the answer to its headers, and all pieces of its body.
    pub async fn ask(&mut self, head: ProcessingRequest, body: &[u8]) -> (ProcessingResponse, Vec<ProcessingResponse>) {
        self.send(head).await;
        self.send(super::expect::request_body(body, true)).await;
        let head = self.answer().await;
        let mut pieces = vec![self.answer().await];
        while !super::expect::piece(pieces.last().expect("a piece")).end_of_stream {
            pieces.push(self.answer().await);
        }
        (head, pieces)
    }

    /// Passes an engine's answer of one document through the replica.
    pub async fn serve(&mut self) {
        for message in [super::expect::json(), super::response_body(b"{}", true)] {
            self.send(message).await;
            self.answer().await;
        }
    }

    /// Reads until the replica ends the stream in order.
    pub async fn end(&mut self) {
        while self.receive().await.is_some() {}
    }

    /// Closes the sending side.
    pub fn close(&mut self) {
        self.outbound = None;
    }

    async fn next_unbounded(&mut self) -> Result<Option<ProcessingResponse>, Status> {
        if let Some(opening) = self.opening.take() {
            self.inbound = Some(opening.await.expect("the call was not cut")?.into_inner());
        }
        self.inbound.as_mut().expect("the stream is open").message().await
    }
}

impl Drop for ExtProcStream {
    fn drop(&mut self) {
        if let Some(opening) = &self.opening {
            opening.abort();
        }
    }
}
