//! The gRPC service: what all streams share, and what each of them is given.
//!
//! Must not know what is said on a stream. A draining replica keeps serving whoever still comes: its health says that
//! it leaves, and the socket is closed when the drain ends.

use std::sync::Arc;

use murmuration::time::Timestamp;
use murmuration_proto::ext_proc::{ExternalProcessor, ProcessingRequest};
use tonic::{Request, Response, Status, Streaming};

use super::admission::Admission;
use super::attendance::Attendance;
use super::connection_id::ConnectionId;
use super::dice::Dice;
use super::settings::Settings;
use super::witness::Witness;
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
    pub(super) witness: Arc<dyn Witness>,
    pub(super) now: Now,
    pub(super) dice: Dice,
}

// === impl Service ===

impl<A: Asking> Service<A> {
    /// A service that asks `asking`, tells `witness`, and takes the time from `now`.
    pub fn new(asking: A, settings: Settings, witness: Arc<dyn Witness>, now: Now) -> Self {
        let admission = Admission::new(&settings.limits);
        let shared = Shared { asking, settings: Arc::new(settings), admission, witness, now, dice: Dice::default() };
        Self { shared: Arc::new(shared) }
    }

    /// What it was told.
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
impl<A: Asking> ExternalProcessor for Service<A> {
    type ProcessStream = Attendance<A, Streaming<ProcessingRequest>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let connection = request.extensions().get::<ConnectionId>().copied().unwrap_or_default();
        let mut attendance = Attendance::new(self.shared.clone(), request.into_inner(), connection);
        attendance.hear_request().await?;
        Ok(Response::new(attendance))
    }
}
