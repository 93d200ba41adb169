//! The peers that currently follow by stream and get every fact at once. Other lanes bring them nothing new.
//!
//! Must not know lanes, or what is sent. A subscription says that a stream is up, not that it makes progress. So other
//! lanes still send everything, only less often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::ReplicaId;

/// The followers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Subscribers(Arc<Mutex<BTreeMap<ReplicaId, usize>>>);

/// One subscription, for as long as this is held.
#[derive(Debug)]
pub struct Subscription {
    replica: ReplicaId,
    subscribers: Subscribers,
}

// === impl Subscribers ===

impl Subscribers {
    /// `replica` follows from now on.
    pub fn subscribe(&self, replica: ReplicaId) -> Subscription {
        // An older stream may end after the newer one has begun, so streams are counted.
        *self.followers().entry(replica.clone()).or_default() += 1;
        Subscription { replica, subscribers: self.clone() }
    }

    /// Whether `replica` follows.
    pub fn has(&self, replica: &ReplicaId) -> bool {
        self.followers().contains_key(replica)
    }

    fn followers(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, usize>> {
        // A panic can't leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut followers = self.subscribers.followers();
        if let Some(streams) = followers.get_mut(&self.replica) {
            *streams -= 1;
            if *streams == 0 {
                followers.remove(&self.replica);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_there_until_its_last_stream_ends() {
        let (subscribers, names) = (Subscribers::default(), ["a", "b"].map(|name| ReplicaId(name.to_owned())));
        let has = || [0, 1].map(|name| subscribers.has(&names[name]));
        let old = subscribers.subscribe(names[0].clone());
        assert_eq!(has(), [true, false]);
        let other = subscribers.subscribe(names[1].clone());
        let new = subscribers.subscribe(names[0].clone());
        drop(old);
        assert_eq!(has(), [true, true], "the newer stream is there");
        drop(new);
        assert_eq!(has(), [false, true]);
        drop(other);
        assert!(subscribers.followers().is_empty());
    }
}
