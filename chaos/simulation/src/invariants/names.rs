//! Maps the names of endpoints and replicas to their numbers in the plan.
//!
//! Must not know what is done with them. Names in a cluster end in the number that plans use.

use murmuration::id::{EndpointId, ReplicaId};

/// The number of the engine behind an endpoint.
pub(super) fn engine(endpoint: &EndpointId) -> Option<usize> {
    number(endpoint.name())
}

/// The number of the replica with this name.
pub(super) fn replica(replica: &ReplicaId) -> Option<usize> {
    number(&replica.0)
}

fn number(name: &str) -> Option<usize> {
    name.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_the_number_that_plans_use() {
        assert_eq!(engine(&EndpointId::new("town", "engine-12")), Some(12));
        assert_eq!(replica(&ReplicaId("replica-3".into())), Some(3));
        assert_eq!(replica(&ReplicaId("replica".into())), None);
    }
}
