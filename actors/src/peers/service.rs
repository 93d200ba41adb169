//! The service that followers call: checks who asks for what, and gives them their stream.
//!
//! Must not know sockets or certificates.

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::share::codec::{NAME_BYTES_MAX, VERSION};
use murmuration_proto::peer::{Flock, FollowRequest};
use tokio::sync::watch;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::seats::{SEATS_MAX, Seats};
use super::telling::Telling;
use crate::flock::{Ear, Voice};

/// The voice of this replica, as followers get it.
#[derive(Debug)]
pub(super) struct Service {
    voice: Voice,
    ear: Ear,
    seats: Seats,
    closing: watch::Receiver<bool>,
}

// === impl Service ===

impl Service {
    /// Serves `voice` until `closing` says so or its sender is gone; `ear` counts what is sent.
    pub(super) fn new(voice: Voice, ear: Ear, closing: watch::Receiver<bool>) -> Self {
        Self { voice, ear, seats: Seats::default(), closing }
    }

    fn check(&self, asked: &FollowRequest) -> Result<(), Status> {
        if asked.replica.is_empty() || asked.replica.len() > NAME_BYTES_MAX {
            let bytes = asked.replica.len();
            return Err(Status::invalid_argument(format!(
                "a follower's name of {bytes} bytes; it has 1 to {NAME_BYTES_MAX}"
            )));
        }
        if asked.replica == self.voice.me().0 {
            return Err(Status::invalid_argument("this replica has the follower's name; give each one of its own"));
        }
        let (lowest, highest) = (asked.wire_version_min, asked.wire_version_max);
        if !(lowest..=highest).contains(&u32::from(VERSION)) {
            return Err(Status::failed_precondition(format!(
                "the follower reads versions {lowest} to {highest} of the wire format and this replica writes {VERSION}; \
                 upgrade the older of the two"
            )));
        }
        if *self.closing.borrow() {
            return Err(Status::unavailable("this replica is leaving; follow the others"));
        }
        Ok(())
    }
}

#[async_trait]
impl Flock for Service {
    type FollowStream = Telling;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<Telling>, Status> {
        let asked = request.into_inner();
        self.check(&asked)?;
        let full = || {
            Status::resource_exhausted(format!("this replica serves {SEATS_MAX} followers already; try again later"))
        };
        let seat = self.seats.take(ReplicaId(asked.replica)).ok_or_else(full)?;
        let same_life = Incarnation(asked.incarnation) == self.voice.incarnation();
        let after = if same_life { asked.after } else { 0 };
        Ok(Response::new(Telling::new(self.voice.clone(), self.ear.clone(), seat, self.closing.clone(), after)))
    }
}
