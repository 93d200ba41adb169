//! `every_pair_ends`.
//!
//! Must not know what a sidecar does. A prompt is computed again, or a request fails, only where a fault explains it: of
//! engines, of their links, of KV on its way, of what discovery says, or of the load that makes legs slow.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::EndpointId;

use super::{About, Broken, Invariant, Scene, broken, names};
use crate::history::{End, Entry, Fact, Legs};
use crate::plan::{Fault, Place};

/// How long after a fault legs may fail because of it, if their request was sent after it. One that was sent before or
/// during it may have met it at any time: a long prompt takes long until its KV moves.
const AFTERMATH: Duration = Duration::from_secs(12);

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct EveryPairEnds {
    /// Where each open request was sent, and when.
    to: BTreeMap<u64, (EndpointId, Duration)>,
    /// Open pairs, and how the legs of each ended.
    pairs: BTreeMap<u64, Option<Legs>>,
}

// === impl EveryPairEnds ===

impl Invariant for EveryPairEnds {
    fn about(&self) -> About {
        About::safety(
            "every_pair_ends",
            "a pair names engines that prefill, its legs end once, and its request is served with their KV or, where a fault explains it, computed by the decode engine or failed",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        match &entry.fact {
            Fact::Sent { request, to: Some(to), .. } => {
                self.to.insert(*request, (to.clone(), entry.at));
            }
            Fact::Paired { request, replica, prefill } => return self.paired(*request, *replica, prefill, scene),
            Fact::LegsEnded { request, legs } => return self.legs_ended(*request, legs, scene),
            Fact::Done { request, end, .. } => {
                self.to.remove(request);
                return match self.pairs.remove(request) {
                    Some(None) if *end != End::EngineFailed => {
                        broken!("request {request} is over ({end:?}) before its legs ended")
                    }
                    Some(Some(Legs::Failed(why))) if *end == End::Served => {
                        broken!("request {request} is served though its legs failed: {why}")
                    }
                    _ => Ok(()),
                };
            }
            _ => {}
        }
        Ok(())
    }
}

impl EveryPairEnds {
    fn paired(
        &mut self,
        request: u64,
        replica: usize,
        prefill: &[Option<EndpointId>],
        scene: &Scene,
    ) -> Result<(), Broken> {
        let cluster = &scene.plan().cluster;
        let decode = self.to.get(&request).map(|(to, _)| to);
        let engines: Vec<Option<usize>> = prefill.iter().map(|id| id.as_ref().and_then(names::engine)).collect();
        let all_prefill = engines.iter().all(|engine| engine.is_some_and(|engine| cluster.prefills(engine)));
        if !all_prefill || decode.and_then(names::engine).is_none_or(|engine| cluster.prefills(engine)) {
            return broken!("replica-{replica} paired request {request} as {decode:?} and {prefill:?}");
        }
        if (1..engines.len()).any(|at| engines[..at].contains(&engines[at])) {
            return broken!("replica-{replica} names an engine twice for request {request}: {prefill:?}");
        }
        self.pairs.insert(request, None);
        Ok(())
    }

    fn legs_ended(&mut self, request: u64, legs: &Legs, scene: &Scene) -> Result<(), Broken> {
        match self.pairs.get_mut(&request) {
            Some(ended @ None) => *ended = Some(legs.clone()),
            Some(Some(_)) => return broken!("the legs of request {request} ended twice"),
            None => return broken!("the legs of request {request}, which is no pair, ended"),
        }
        let open_for = self.to.get(&request).map_or(Duration::ZERO, |(_, sent)| scene.now().saturating_sub(*sent));
        let explained = scene.feels(open_for + AFTERMATH, |fault| explains(fault, scene));
        match legs {
            Legs::Computed(why) if !explained => {
                broken!(
                    "the prompt of request {request} is computed where it is decoded, though no fault hinders: {why}"
                )
            }
            Legs::Failed(why) if !explained => broken!("request {request} fails, though no fault hinders: {why}"),
            _ => Ok(()),
        }
    }
}

/// Whether such a fault makes legs fail.
fn explains(fault: &Fault, scene: &Scene) -> bool {
    let cluster = &scene.plan().cluster;
    let has_engine = |place: &Place| !place.engines(cluster).is_empty();
    match fault {
        Fault::Cut { from, to, .. } => has_engine(from) && has_engine(to),
        Fault::Transfer { .. } | Fault::EngineSlow { .. } => true,
        Fault::Burst { .. } | Fault::LargePrompts { .. } | Fault::HotPrefix { .. } => true,
        fault => fault.changes_endpoints() || !fault.kills_engines(cluster).is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, engine};
    use crate::plan::TransferFault;

    /// Request 1, which replica 0 sent to engine 2, and for which this engine prefills.
    fn paired(prefill: usize, faults: Vec<Fault>) -> HistoryBuilder {
        let struck = !faults.is_empty();
        let mut history = HistoryBuilder::with(faults);
        history.plan.cluster.prefillers = 2;
        if struck {
            history.at(2_000).world(Fact::FaultBegan(0));
        }
        history.at(3_000).sent(1, 0, 2);
        history.client(Fact::Paired { request: 1, replica: 0, prefill: vec![Some(engine(prefill))] });
        history
    }

    fn ended(history: &mut HistoryBuilder, legs: Legs) {
        history.client(Fact::LegsEnded { request: 1, legs });
    }

    fn done(history: &mut HistoryBuilder, end: End) {
        history.client(Fact::Done { request: 1, end, first_token: None, prompt: (1, 0) });
    }

    #[test]
    fn a_pair_is_an_engine_of_each_stage() {
        assert_eq!(paired(0, Vec::new()).check(EveryPairEnds::default()), Ok(()));
        paired(2, Vec::new()).breaks(EveryPairEnds::default(), "paired request 1");
        paired(3, Vec::new()).breaks(EveryPairEnds::default(), "paired request 1");
    }

    #[test]
    fn legs_end_once_and_before_their_request() {
        let mut history = paired(0, Vec::new());
        ended(&mut history, Legs::Moved { from: 0 });
        assert_eq!(history.check(EveryPairEnds::default()), Ok(()));
        ended(&mut history, Legs::Moved { from: 0 });
        history.breaks(EveryPairEnds::default(), "ended twice");
        for (end, right) in [(End::EngineFailed, true), (End::Served, false)] {
            let mut history = paired(0, Vec::new());
            done(&mut history, end);
            assert_eq!(history.check(EveryPairEnds::default()).is_ok(), right);
        }
    }

    #[test]
    fn a_prompt_is_computed_again_only_where_a_fault_explains_it() {
        let failing = || vec![Fault::Transfer { share: 0.5, does: TransferFault::Fails, by: Duration::ZERO }];
        for (faults, right) in [(failing(), true), (vec![Fault::Vanish { share: 0.5 }], false)] {
            let mut history = paired(0, faults);
            ended(&mut history, Legs::Computed("the transfer failed"));
            done(&mut history, End::Served);
            assert_eq!(history.check(EveryPairEnds::default()).is_ok(), right);
        }
    }

    #[test]
    fn a_long_prompt_that_met_a_fault_may_be_computed_again_long_after_it() {
        for (sent_at, right) in [(4_000, true), (20_000, false)] {
            let failing = Fault::Transfer { share: 0.5, does: TransferFault::Fails, by: Duration::ZERO };
            let mut history = HistoryBuilder::with(vec![failing]);
            history.plan.cluster.prefillers = 2;
            history.at(2_000).world(Fact::FaultBegan(0));
            history.at(4_000).world(Fact::FaultEnded(0));
            history.at(sent_at).sent(1, 0, 2);
            history.client(Fact::Paired { request: 1, replica: 0, prefill: vec![Some(engine(0))] });
            history.at(30_000);
            ended(&mut history, Legs::Computed("the transfer broke"));
            done(&mut history, End::Served);
            assert_eq!(history.check(EveryPairEnds::default()).is_ok(), right);
        }
    }
}
