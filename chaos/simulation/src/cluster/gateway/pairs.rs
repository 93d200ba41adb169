//! The pairs whose legs are run at this moment, so that a fault can strike one of them.
//!
//! Must not know faults.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::plan::PairMoment;

/// A pair between its decision and the arrival of its KV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) struct Pair {
    /// The replica that chose it.
    pub(in crate::cluster) planner: usize,
    /// The engine that prefills.
    pub(in crate::cluster) prefill: usize,
    /// The engine that decodes.
    pub(in crate::cluster) decode: usize,
    /// How far it is.
    pub(in crate::cluster) moment: PairMoment,
}

/// The pairs, by the numbers of their requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::cluster) struct Pairs(Arc<Mutex<BTreeMap<u64, Pair>>>);

/// One of them, until this is dropped.
pub(super) struct OpenPair {
    pairs: Pairs,
    request: u64,
}

// === impl Pairs ===

impl Pairs {
    /// Adds a pair, or tells how far one is.
    pub(super) fn open(&self, request: u64, pair: Pair) -> OpenPair {
        self.all().insert(request, pair);
        OpenPair { pairs: self.clone(), request }
    }

    /// The first pair of this moment that `which` selects.
    pub(in crate::cluster) fn find(&self, moment: PairMoment, which: impl Fn(&Pair) -> bool) -> Option<Pair> {
        self.all().values().find(|pair| pair.moment == moment && which(pair)).copied()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl OpenPair ===

impl OpenPair {
    /// The prompt is computed.
    pub(super) fn hands_over(&self) {
        if let Some(pair) = self.pairs.all().get_mut(&self.request) {
            pair.moment = PairMoment::HandingOver;
        }
    }
}

impl Drop for OpenPair {
    fn drop(&mut self) {
        self.pairs.all().remove(&self.request);
    }
}
