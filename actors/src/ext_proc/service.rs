//! The gRPC service: what each stream is given.
//!
//! Must not know the messages of a stream. A draining replica keeps serving new streams: its health reports the drain,
//! and the socket is closed when the drain ends.

use std::sync::Arc;

use murmuration_proto::ext_proc::{ExternalProcessor, ProcessingRequest};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::connection_id::ConnectionId;
use super::settings::Settings;
use super::shared::Shared;
use super::stream_driver::StreamDriver;
use super::telemetry_sink::TelemetrySink;
use crate::scheduler::{Decider, Known};

pub use super::shared::Now;

/// The ext-proc service of one pool.
pub struct Service<A> {
    shared: Arc<Shared<A>>,
}

// === impl Service ===

impl<A: Decider> Service<A> {
    /// A service that gets its decisions from `decider`, reports to `sink`, and takes the time from `now`. Models of
    /// requests are replaced by the rules that discovery `announced` last.
    pub fn new(decider: A, (settings, announced): (Settings, Known), sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        Self { shared: Arc::new(Shared::new(decider, (settings, announced), sink, now)) }
    }

    /// Follows changes of `salt`: later requests hash their prompts under the new one.
    pub async fn follow_salt(self, mut salt: watch::Receiver<u128>) {
        while salt.changed().await.is_ok() {
            self.shared.salt(*salt.borrow_and_update());
        }
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

impl<A> Clone for Service<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

#[tonic::async_trait]
impl<A: Decider> ExternalProcessor for Service<A> {
    type ProcessStream = StreamDriver<A, Streaming<ProcessingRequest>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let connection = request.extensions().get::<ConnectionId>().copied().unwrap_or_default();
        let mut stream_driver = StreamDriver::new(self.shared.clone(), request.into_inner(), connection);
        stream_driver.read_request().await?;
        Ok(Response::new(stream_driver))
    }
}
