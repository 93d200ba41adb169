//! The gRPC service: what all streams share, and what each of them is given.
//!
//! Must not know the messages of a stream. A draining replica keeps serving new streams: its health reports the drain,
//! and the socket is closed when the drain ends.

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
use crate::prepare::{Preparation, Renderer};
use crate::scheduler::Decider;

/// Returns the current time of this replica.
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
    /// Asked about each request before its decision.
    pub(super) preparation: Option<Preparation>,
    /// The settings with the current salt.
    salted: watch::Sender<Arc<Settings>>,
    pub(super) sink: Arc<dyn TelemetrySink>,
    pub(super) now: Now,
    pub(super) ids: IdGenerator,
}

// === impl Service ===

impl<A: Decider> Service<A> {
    /// A service that gets its decisions from `asking`, reports to `sink`, and takes the time from `now`.
    pub fn new(asking: A, settings: Settings, sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        Self { shared: Arc::new(Shared::new(asking, settings, sink, now)) }
    }

    /// Follows changes of `salt`: later requests hash their prompts under the new one.
    pub async fn follow_salt(self, mut salt: watch::Receiver<u128>) {
        while salt.changed().await.is_ok() {
            let tier_salt = *salt.borrow_and_update();
            let salted = |settings: &mut Arc<Settings>| {
                *settings = Arc::new(Settings { tier_salt, ..Settings::clone(settings) });
            };
            self.shared.salted.send_modify(salted);
        }
    }

    /// The settings it was started with.
    pub fn settings(&self) -> &Settings {
        &self.shared.settings
    }
}

impl<A> Shared<A> {
    pub(super) fn new(asking: A, settings: Settings, sink: Arc<dyn TelemetrySink>, now: Now) -> Self {
        let (admission, settings) = (Admission::new(&settings.limits), Arc::new(settings));
        let salted = watch::channel(settings.clone()).0;
        let preparation = settings.renderer.clone().map(|renderer| Preparation::new(Arc::new(Renderer::new(renderer))));
        Self { asking, settings, admission, preparation, salted, sink, now, ids: IdGenerator::default() }
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
