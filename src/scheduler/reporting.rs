//! What telemetry learns of a decision, and what a client learns where none was possible.
//!
//! Must not know how a decision is made.

use crate::event::{Decided, Split};
use crate::fleet::Fleet;
use crate::id::Ticket;
use crate::request::{InferenceRequest, Refusal, RefusalCode};
use crate::schedule::decision::{Explanation, Target};
use crate::schedule::{Decision, Stage, View};

/// The record of a decision.
pub(super) fn decided(ticket: Ticket, request: &InferenceRequest, target: &Target, decision: &Decision) -> Decided {
    let explanation = &decision.explanation;
    // A handler that asks no decider and chose one endpoint had nothing to split.
    let splits = decision.legs.len() > 1 || !explanation.verdicts.is_empty();
    let prefill = decision.leg(Stage::Prefill).and_then(|leg| leg.targets.first());
    let split = splits.then(|| Split {
        handler: explanation.handler.clone(),
        decision: decision.split(),
        prefill: prefill.map(|target| target.endpoint.clone()),
    });
    Decided {
        ticket,
        request_id: request.id.clone(),
        model: request.incoming_model.clone(),
        target_model: request.target_model.clone(),
        rewritten_by: request.rewritten_by.clone(),
        fairness_id: request.fairness_id.clone(),
        priority: request.priority,
        endpoint: target.endpoint.clone(),
        port: target.address.port(),
        matched: target.matched,
        block_tokens: request.prompt.chain.block_tokens(),
        candidates: explanation.candidates,
        split,
    }
}

/// Why there are no candidates, for the client.
pub(super) fn no_candidates(fleet: &Fleet, view: &View<'_>) -> Refusal {
    let sentence = if fleet.is_empty() {
        "the pool has no endpoints".to_owned()
    } else if view.asleep > 0 {
        format!("no endpoint can serve: {} asleep, {} outside of the subset", view.asleep, view.outside_subset)
    } else {
        format!("the gateway's subset admits none of the pool's {} endpoints", fleet.len())
    };
    Refusal::new(RefusalCode::NoEndpoints, sentence)
}

/// Which filter left no candidate, for the client.
pub(super) fn filtered_out(explanation: &Explanation) -> Refusal {
    // The last profile that ran is the one that found nothing.
    let filters = explanation.profiles.iter().rev().flat_map(|profile| &profile.filters);
    let sentence = filters.filter(|filter| filter.after == 0).map(|filter| filter.filter.as_str()).next().map_or_else(
        || "no scheduling profile chose an endpoint".to_owned(),
        |filter| format!("the filter {filter} left none of {} endpoints", explanation.candidates),
    );
    Refusal::new(RefusalCode::NoEndpoints, sentence)
}
