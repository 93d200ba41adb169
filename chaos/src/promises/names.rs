//! Which of a plan's replicas and engines a name means.
//!
//! Must not know what is done with them. Names of a town end in the number that plans use.

use murmuration::id::{EndpointId, ReplicaId};

/// The engine behind an endpoint.
pub(super) fn engine(endpoint: &EndpointId) -> Option<usize> {
    number(endpoint.name())
}

/// The replica of this name.
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
