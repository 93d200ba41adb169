//! Who listens at this moment to a lane that tells everything at once. What comes by another lane is no news to them, and
//! can come in fewer words.
//!
//! Must not know lanes, nor what is told. That somebody listens says that a stream to it is up, and nothing of whether it
//! moves: whoever trusts in it still says everything, only less often.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::id::ReplicaId;

/// The listeners. Cheap to clone.
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
    /// `replica` listens from now on.
    pub fn enters(&self, replica: ReplicaId) -> Subscription {
        // An older stream may end after the newer one has begun, so they are counted.
        *self.listeners().entry(replica.clone()).or_default() += 1;
        Subscription { replica, subscribers: self.clone() }
    }

    /// Whether each of `replicas` listens; of nobody it is true.
    pub fn has_all<'a>(&self, mut replicas: impl Iterator<Item = &'a ReplicaId>) -> bool {
        let listeners = self.listeners();
        replicas.all(|replica| listeners.contains_key(replica))
    }

    fn listeners(&self) -> MutexGuard<'_, BTreeMap<ReplicaId, usize>> {
        // Every change is whole before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut listeners = self.subscribers.listeners();
        if let Some(streams) = listeners.get_mut(&self.replica) {
            *streams -= 1;
            if *streams == 0 {
                listeners.remove(&self.replica);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_there_until_its_last_stream_ends() {
        let (subscribers, names) = (Subscribers::default(), ["a", "b"].map(|name| ReplicaId(name.to_owned())));
        assert!(subscribers.has_all([].iter()), "nobody misses anything");
        let old = subscribers.enters(names[0].clone());
        assert!(!subscribers.has_all(names.iter()));
        let other = subscribers.enters(names[1].clone());
        let new = subscribers.enters(names[0].clone());
        drop(old);
        assert!(subscribers.has_all(names.iter()), "the newer stream is there");
        drop(new);
        assert!(!subscribers.has_all(names.iter()));
        assert!(subscribers.has_all(names[1..].iter()));
        drop(other);
        assert!(subscribers.listeners().is_empty());
    }
}
