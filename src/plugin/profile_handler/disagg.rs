//! `disagg-profile-handler`: decode, and where deciders ask for it, prefill and encode on endpoints of their own.
//!
//! llm-d's rules: a decider makes a stage active; with `prefill-first`, each request is prefilled apart. A request
//! whose prefill stage finds no endpoint is refused unless a `fallback` profile is named: decode engines are not sized
//! for prompts. An encode stage that finds none is left out. Must not know how a decider decides, nor what stages cost.

use std::sync::Arc;

use crate::plugin::contract::{ProfileHandler, Runs};
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Stage, Step, Steps};

use super::disagg_parameters::{DisaggParameters, Order, PdParameters, Stages};
use super::stage::{Extra, extra};

/// `disagg-profile-handler`: chooses a decode endpoint, and endpoints for prefill and encode where deciders ask for
/// them. A stage without a decider is not active.
#[derive(Clone, Debug)]
pub struct DisaggProfileHandler {
    stages: Stages,
}

/// `pd-profile-handler`: handles the stages prefill and decode. A prefill stage that finds no endpoint is left out.
/// Deprecated in llm-d; `disagg-profile-handler` replaces it.
#[derive(Clone, Debug)]
pub struct PdProfileHandler {
    handler: DisaggProfileHandler,
    primary_port: Option<u16>,
}

// === impl DisaggProfileHandler ===

impl DisaggProfileHandler {
    fn decode_first<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        match steps.chosen(&self.stages.decode) {
            None => return Step::Run { profile: &self.stages.decode, stage: Stage::Decode },
            Some([]) => return self.fall_back(steps),
            Some(_) => {}
        }
        let mut done = vec![self.stages.decode.as_str()];
        let instead = Some(self.stages.decode.as_str());
        match extra(steps, &self.stages.encode, Stage::Encode, self.stages.encode_decider.as_ref(), instead) {
            Extra::Run => return Step::Run { profile: &self.stages.encode, stage: Stage::Encode },
            Extra::Found => done.push(&self.stages.encode),
            Extra::Unwanted | Extra::NotFound => {}
        }
        match extra(steps, &self.stages.prefill, Stage::Prefill, self.stages.prefill_decider.as_ref(), instead) {
            Extra::Run => return Step::Run { profile: &self.stages.prefill, stage: Stage::Prefill },
            Extra::Found => done.push(&self.stages.prefill),
            Extra::NotFound if self.stages.prefill_required => return self.fall_back(steps),
            Extra::NotFound | Extra::Unwanted => {}
        }
        Step::Done(done)
    }

    fn prefill_first<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        let mut done = Vec::with_capacity(3);
        if steps.has(&self.stages.prefill) {
            match steps.chosen(&self.stages.prefill) {
                None => return Step::Run { profile: &self.stages.prefill, stage: Stage::Prefill },
                Some([]) => return Step::Refuse,
                Some(_) => done.push(self.stages.prefill.as_str()),
            }
        }
        match extra(steps, &self.stages.encode, Stage::Encode, self.stages.encode_decider.as_ref(), None) {
            Extra::Run => return Step::Run { profile: &self.stages.encode, stage: Stage::Encode },
            Extra::Found => done.push(&self.stages.encode),
            Extra::Unwanted | Extra::NotFound => {}
        }
        match steps.chosen(&self.stages.decode) {
            None => Step::Run { profile: &self.stages.decode, stage: Stage::Decode },
            Some([]) => Step::Refuse,
            Some(_) => {
                done.insert(0, &self.stages.decode);
                Step::Done(done)
            }
        }
    }

    /// One endpoint for everything, if the configuration has a profile for that.
    fn fall_back<'h>(&'h self, steps: &Steps<'h>) -> Step<'h> {
        let Some(profile) = self.stages.fallback.as_deref() else { return Step::Refuse };
        match steps.chosen(profile) {
            None => Step::Run { profile, stage: Stage::Decode },
            Some([]) => Step::Refuse,
            Some(_) => Step::Done(vec![profile]),
        }
    }
}

impl ProfileHandler for DisaggProfileHandler {
    fn runs(&self) -> Runs<'_> {
        let required =
            [Some(self.stages.decode.as_str()), self.stages.fallback.as_deref()].into_iter().flatten().collect();
        let encode = self.stages.encode_decider.as_ref().map(|_| self.stages.encode.as_str());
        let optional = std::iter::once(self.stages.prefill.as_str()).chain(encode).collect();
        Runs::Named { required, optional }
    }

    fn deciders(&self) -> Vec<&str> {
        [&self.stages.prefill_decider, &self.stages.encode_decider].into_iter().flatten().map(String::as_str).collect()
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        match self.stages.order {
            Order::DecodeFirst => self.decode_first(steps),
            Order::PrefillFirst => self.prefill_first(steps),
        }
    }
}

impl Plugin for DisaggProfileHandler {
    const TYPE: &'static str = "disagg-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = DisaggParameters;

    fn build(parameters: DisaggParameters) -> Result<Self, Invalid> {
        Ok(Self { stages: parameters.stages()? })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}

// === impl PdProfileHandler ===

impl ProfileHandler for PdProfileHandler {
    fn runs(&self) -> Runs<'_> {
        self.handler.runs()
    }

    fn deciders(&self) -> Vec<&str> {
        self.handler.deciders()
    }

    fn primary_port(&self) -> Option<u16> {
        self.primary_port
    }

    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h> {
        self.handler.next(steps)
    }
}

impl Plugin for PdProfileHandler {
    const TYPE: &'static str = "pd-profile-handler";
    const READS: &'static [Produced] = &[];
    type Parameters = PdParameters;

    fn build(parameters: PdParameters) -> Result<Self, Invalid> {
        let primary_port = Some(parameters.primary_port).filter(|port| *port != 0);
        Ok(Self { handler: DisaggProfileHandler { stages: parameters.stages()? }, primary_port })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::profile_handler(self)
    }
}

#[cfg(test)]
#[path = "disagg_tests.rs"]
mod tests;
