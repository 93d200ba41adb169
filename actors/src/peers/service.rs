//! The service that followers call: checks who asks for what, and gives them their stream.
//!
//! Must not know sockets or certificates.

use std::collections::VecDeque;

use bytes::Bytes;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::share::codec::{self, NAME_BYTES_MAX, VERSION_MIN};
use murmuration_proto::peer::{Flock, FollowRequest};
use tokio::sync::watch;
use tonic::codegen::async_trait;
use tonic::{Request, Response, Status};

use super::seats::{SEATS_MAX, Seats};
use super::telling::{FACTS_MAX, Telling};
use crate::flock::{Ear, Voice};

/// Placements that one who joins is told, 10 MiB of the usual ones; and bindings, 1.5 MiB.
const HISTORY_MAX: usize = 65_536;

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

    async fn history(&self) -> VecDeque<Bytes> {
        let told = self.ear.history(HISTORY_MAX).await;
        let batches = self.voice.history(&told, FACTS_MAX);
        // A placement is far smaller than what the codec refuses, and so are a thousand.
        batches.iter().filter_map(|batch| codec::encode(batch).ok()).map(Bytes::from).collect()
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
        let version = self.voice.version();
        if !codec::in_common(lowest, highest, version) {
            return Err(Status::failed_precondition(format!(
                "the follower reads versions {lowest} to {highest} of the wire format and this replica writes {VERSION_MIN} to \
                 {version}; upgrade the older of the two"
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
        let history = if asked.history { self.history().await } else { VecDeque::new() };
        let (voice, ear, closing) = (self.voice.clone(), self.ear.clone(), self.closing.clone());
        Ok(Response::new(Telling::new(voice, ear, seat, closing, after, history)))
    }
}
