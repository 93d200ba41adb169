//! The last announcement of discovery, and the changes against what was known before.
//!
//! Must not know where announcements come from. Each one is complete, so a part that starts later misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::fleet::{Endpoint, EndpointChange};
use murmuration::id::EndpointId;
use tokio::sync::watch;

use crate::environment::Announcement;

/// The last announcement; `None` before the first.
pub type Known = watch::Receiver<Option<Arc<Announcement>>>;

/// Replaces `known` with what was announced; returns the changes, removals first.
pub fn changes(known: &mut BTreeMap<EndpointId, Endpoint>, announced: &[Endpoint]) -> Vec<EndpointChange> {
    let wanted: BTreeMap<EndpointId, Endpoint> = announced.iter().map(|e| (e.id.clone(), e.clone())).collect();
    let gone = known.keys().filter(|id| !wanted.contains_key(*id)).cloned().map(EndpointChange::Remove);
    let other = wanted.values().filter(|endpoint| known.get(&endpoint.id) != Some(endpoint));
    let changes = gone.chain(other.cloned().map(EndpointChange::Upsert)).collect();
    *known = wanted;
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, port: u16) -> Endpoint {
        let address = ([10, 0, 0, 1], port).into();
        Endpoint { id: EndpointId::new("default", name), address, labels: BTreeMap::new() }
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let mut known = BTreeMap::new();
        assert_eq!(changes(&mut known, &[endpoint("a", 1), endpoint("b", 1)]).len(), 2);
        assert_eq!(changes(&mut known, &[endpoint("b", 1), endpoint("a", 1)]), []);
        let changed = changes(&mut known, &[endpoint("b", 2), endpoint("c", 1)]);
        let remove = EndpointChange::Remove(EndpointId::new("default", "a"));
        assert_eq!(
            changed,
            [remove, EndpointChange::Upsert(endpoint("b", 2)), EndpointChange::Upsert(endpoint("c", 1))]
        );
    }
}
