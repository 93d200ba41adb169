//! What discovery announced, and what follows from it for whoever knew something else before.
//!
//! Must not know who announces. An announcement is whole, so whoever starts later misses nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use murmuration::fleet::{Endpoint, EndpointChange};
use murmuration::id::EndpointId;
use tokio::sync::watch;

use crate::environment::Announcement;

/// The last announcement; `None` before the first.
pub type Known = watch::Receiver<Option<Arc<Announcement>>>;

/// Makes `known` what was announced; gives the changes, removals first.
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
