//! `stays_within_the_subset`.
//!
//! Must not know scores: the gateway's hint is a wall, not a wish.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;

use super::{Broken, Promise, Scene, broken, names};
use crate::chronicle::{Entry, Fact};

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct StaysWithinTheSubset {
    walls: BTreeMap<u64, Vec<EndpointId>>,
}

// === impl StaysWithinTheSubset ===

impl Promise for StaysWithinTheSubset {
    fn name(&self) -> &'static str {
        "stays_within_the_subset"
    }

    fn meaning(&self) -> &'static str {
        "a decision never names an endpoint outside of the gateway's subset"
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Asked { request, subset, .. } if !subset.is_empty() => {
                self.walls.insert(*request, subset.clone());
            }
            Fact::Sent { request, replica, to } => {
                if let Some((wall, to)) = self.walls.get(request).zip(to.as_ref())
                    // An engine may have taken another name since.
                    && !wall.iter().any(|one| one == to || names::engine(one).is_some() && names::engine(one) == names::engine(to))
                {
                    return broken!(
                        "replica-{replica} sent request {request} to {to}, outside of its subset of {}",
                        wall.len()
                    );
                }
            }
            Fact::Done { request, .. } => {
                self.walls.remove(request);
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, engine};

    fn sent_to(to: usize) -> Tale {
        let mut tale = Tale::calm();
        tale.client(Fact::Asked { request: 1, replica: 0, attempt: 0, subset: vec![engine(0), engine(1)] });
        tale.ask(2, 0, 0);
        tale.sent(2, 0, 3);
        tale.sent(1, 0, to);
        tale
    }

    #[test]
    fn the_wall_holds_for_its_own_request_alone() {
        assert_eq!(sent_to(1).judged(StaysWithinTheSubset::default()), Ok(()));
        sent_to(2).breaks(StaysWithinTheSubset::default(), "request 1 to town/engine-2, outside");
    }
}
