//! The gRPC service: what all streams share, and what each of them is given.
//!
//! Must not know what is said on a stream. A draining replica keeps serving whoever still comes: its health says that
//! it leaves, and the socket is closed when the drain ends.

use std::sync::Arc;

use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{ExternalProcessor, ProcessingRequest};
use tokio::sync::watch;
use tonic::{Request, Response, Status, Streaming};

use super::admission::Admission;
use super::connection_id::ConnectionId;
use super::id_generator::IdGenerator;
use super::settings::Settings;
use super::stream_driver::StreamDriver;
use super::telemetry_sink::TelemetrySink;
use crate::scheduler::Asking;

/// Tells the time of this replica.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The ext-proc service of one pool.
pub struct Service<A> {
    shared: Arc<Shared<A>>,
}

/// What all streams of a service share.
pub(super) struct Shared<A> {
    pub(super) asking: A,
    pub(super) settings: Arc<Settings>,
    pub(super) admission: Admission,
    /// The settings under the salt that is in force now.
    salted: watch::Sender<Arc<Settings>>,
    pub(super) sink: Arc<dyn TelemetrySink>,
    pub(super) now: Now,
    pub(super) ids: IdGenerator,
}

// === impl Service ===

impl<A: Asking> Service<A> {
    /// A service that asks `asking`, tells `sink`, and takes the time from `now`.
    pub fn new(asking: A, settings: Settings, sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        Self { shared: Arc::new(Shared::new(asking, settings, sink, now)) }
    }

    /// Hashes the prompts of later requests under `salt`, whenever that changes.
    pub async fn follow_salt(self, mut salt: watch::Receiver<u128>) {
        while salt.changed().await.is_ok() {
            let tier_salt = *salt.borrow_and_update();
            let salted = |settings: &mut Arc<Settings>| {
                *settings = Arc::new(Settings { tier_salt, ..Settings::clone(settings) });
            };
            self.shared.salted.send_modify(salted);
        }
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

impl<A> Shared<A> {
    pub(super) fn new(asking: A, settings: Settings, sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        let (admission, settings) = (Admission::new(&settings.limits), Arc::new(settings));
        let salted = watch::channel(settings.clone()).0;
        Self { asking, settings, admission, salted, sink, now, ids: IdGenerator::default() }
    }

    /// The settings of a request that begins now.
    pub(super) fn salted(&self) -> Arc<Settings> {
        self.salted.borrow().clone()
    }
}

impl<A> Clone for Service<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

#[tonic::async_trait]
impl<A: Asking> ExternalProcessor for Service<A> {
    type ProcessStream = StreamDriver<A, Streaming<ProcessingRequest>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let connection = request.extensions().get::<ConnectionId>().copied().unwrap_or_default();
        let mut stream_driver = StreamDriver::new(self.shared.clone(), request.into_inner(), connection);
        stream_driver.hear_request().await?;
        Ok(Response::new(stream_driver))
    }
}
