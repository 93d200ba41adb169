//! `stays_within_the_subset`.
//!
//! Must not know scores: the subset hint of the gateway is a hard limit.

use std::collections::BTreeMap;

use murmuration::id::EndpointId;

use super::{About, Broken, Invariant, Scene, broken, names};
use crate::history::{Entry, Fact};

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct StaysWithinTheSubset {
    allowed: BTreeMap<u64, Vec<EndpointId>>,
}

// === impl StaysWithinTheSubset ===

impl Invariant for StaysWithinTheSubset {
    fn about(&self) -> About {
        About::safety("stays_within_the_subset", "a decision never names an endpoint outside the gateway's subset")
    }

    fn see(&mut self, entry: &Entry, _scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Paired { request, replica, prefill } => {
                for to in prefill.iter().flatten() {
                    self.judge(*request, *replica, to)?;
                }
            }
            Fact::Asked { request, subset, .. } if !subset.is_empty() => {
                self.allowed.insert(*request, subset.clone());
            }
            Fact::Sent { request, replica, to: Some(to) } => self.judge(*request, *replica, to)?,
            Fact::Done { request, .. } => {
                self.allowed.remove(request);
            }
            _ => {}
        }
        Ok(())
    }
}

impl StaysWithinTheSubset {
    fn judge(&self, request: u64, replica: usize, to: &EndpointId) -> Result<(), Broken> {
        let Some(subset) = self.allowed.get(&request) else { return Ok(()) };
        // An engine may have been renamed since.
        let same = |one: &EndpointId| names::engine(one).is_some() && names::engine(one) == names::engine(to);
        match subset.iter().any(|one| one == to || same(one)) {
            true => Ok(()),
            false => {
                let count = subset.len();
                broken!("replica-{replica} sent request {request} to {to}, outside of its subset of {count}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};

    fn sent_to(to: usize) -> HistoryBuilder {
        let mut history = HistoryBuilder::calm();
        history.client(Fact::Asked { request: 1, replica: 0, attempt: 0, subset: vec![engine(0), engine(1)] });
        history.ask(2, 0, 0);
        history.sent(2, 0, 3);
        history.sent(1, 0, to);
        history
    }

    #[test]
    fn the_subset_holds_for_its_own_request_only() {
        assert_eq!(sent_to(1).check(StaysWithinTheSubset::default()), Ok(()));
        sent_to(2).breaks(StaysWithinTheSubset::default(), "request 1 to town/engine-2, outside");
    }
}
