//! Crowds: requests that other replicas dispatch at the same moment, before news of them can arrive.
//!
//! Must not know lanes or which replica dispatched. What it decides follows from the request's content and from what all
//! replicas believe, so all decide alike.

use std::time::Duration;

use crate::chance::Chance;
use crate::request::InferenceRequest;
use crate::schedule::Uncertainty;
use crate::scheduler::Scheduler;
use crate::scheduler::burst::Others;
use crate::time::Timestamp;

/// The longest time that a request is kept back.
const WAIT_MAX: Duration = Duration::from_millis(25);
/// With fewer others at the same moment, in the mean, there is no crowd. (Replayed: from a half on, replicas with nearly
/// equal views disagree in one of thirty decisions of steady traffic, and nothing is gained.)
const OTHERS_MIN: f64 = 1.0;
/// The span over which a crowd is spread, in times of the lag for each other request in it. Then one of two knows of
/// all that were decided before it.
const SPREAD: f64 = 2.0;
/// Separate the draws of a request's wait and of its place from other uses of the same hashes.
const WAIT_SALT: u64 = 0x7761_6974_0000_0000;
const PLACE_SALT: u64 = 0x706c_6163_6500_0000;

/// What is not known of the requests that peers dispatch at the same moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Crowd {
    /// How many of them no row shows.
    pub(super) unknown: usize,
    /// How many of these count as dispatched before this request.
    pub(super) before: usize,
}

// === impl Scheduler: crowds ===

impl Scheduler {
    /// How long a request is kept back before its decision, so that a crowd's dispatches become known to each other.
    /// Zero without a crowd, and for profiles that spread a burst in another way.
    pub fn wait_in_crowd(&self, request: &InferenceRequest, now: Timestamp) -> Duration {
        if !self.profiles.expect_others() {
            return Duration::ZERO;
        }
        let draw = Chance::from_seed(request.content_hash ^ WAIT_SALT).unit();
        self.spread(self.others(now)).mul_f64(draw)
    }

    /// The crowd of a request that was kept back for a while, or not.
    pub(super) fn crowd(&self, request: &InferenceRequest, waited: Duration, now: Timestamp) -> Crowd {
        let others = self.others(now);
        let (spread, lag) = (self.spread(others).as_secs_f64(), self.burst.lag_mean().as_secs_f64());
        // Of a crowd that is spread, those are unknown that were decided within the lag.
        let of_crowd = if waited.is_zero() || spread <= lag { 1.0 } else { lag / spread };
        let unknown = others.by_rate + (others.all - others.by_rate) * of_crowd;
        if unknown < OTHERS_MIN && self.profiles.expect_others() {
            return Crowd::default();
        }
        let place = Chance::from_seed(request.content_hash ^ PLACE_SALT).unit();
        // Not rounded before it is multiplied: replicas whose estimates differ a little must agree on most places. A
        // crowd is small, so the casts keep their values.
        Crowd { unknown: unknown.round() as usize, before: (place * (unknown + 1.0)) as usize }
    }

    /// How incomplete the view may be.
    pub(super) fn uncertainty(&self, crowd: Crowd) -> Uncertainty {
        if !self.settings.sharing {
            return Uncertainty::None;
        }
        if self.peers.is_empty() {
            return if self.foreign_traffic.is_active() { Uncertainty::Isolated } else { Uncertainty::None };
        }
        if crowd.unknown == 0 { Uncertainty::None } else { Uncertainty::Concurrent(crowd.unknown + 1) }
    }

    /// Requests that peers dispatch at the same moment as one of this replica.
    fn others(&self, now: Timestamp) -> Others {
        let peers = self.peers.len() as f64;
        let share = if self.settings.sharing { peers / (peers + 1.0) } else { 0.0 };
        let Others { all, by_rate } = self.burst.others(now);
        Others { all: all * share, by_rate: by_rate * share }
    }

    /// The span over which a crowd is spread. Traffic that comes evenly is spread already: nothing is gained by waiting.
    fn spread(&self, others: Others) -> Duration {
        match others.all - others.by_rate {
            crowd if crowd >= OTHERS_MIN => self.burst.lag().mul_f64(SPREAD * crowd).min(WAIT_MAX),
            _ => Duration::ZERO,
        }
    }
}
