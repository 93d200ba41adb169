//! The steps of one decision: which profiles ran, what they chose, and what deciders said.
//!
//! Must not know single plugins. A profile handler reads the steps so far and names the next one, so it keeps no state
//! of its own.

use crate::plugin::{Decider, Verdict};
use crate::schedule::decision::VerdictExplanation;
use crate::schedule::named::Named;
use crate::schedule::{Ask, Stage, Target};

/// What a profile handler wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'h> {
    /// Run this profile of the configuration and choose endpoints for this stage.
    Run {
        /// The profile's name.
        profile: &'h str,
        /// The stage.
        stage: Stage,
    },
    /// Choose the endpoints of both stages together, among those that the filters of these two profiles leave:
    /// [`ProfileHandler::pair`](crate::plugin::ProfileHandler::pair). The prefill stage may get none.
    Pair {
        /// The profile of the stage that decodes.
        decode: &'h str,
        /// The profile of the stage that prefills.
        prefill: &'h str,
    },
    /// The endpoints that these profiles chose are the decision, each profile once. The request is sent to those of the
    /// first. A profile that chose none ends the list, so name only those that chose some.
    Done(Vec<&'h str>),
    /// No decision is possible: a stage that the request needs found no endpoint.
    Refuse,
    /// The request asks for something that does not exist; one sentence for the client.
    Reject(String),
}

/// The steps so far.
#[derive(Debug)]
pub struct Steps<'a> {
    ask: &'a Ask<'a>,
    profiles: &'a [String],
    deciders: &'a [Named<dyn Decider>],
    ran: Vec<Ran>,
    verdicts: Vec<VerdictExplanation>,
}

/// A profile that ran.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) profile: String,
    pub(super) stage: Stage,
    pub(super) targets: Vec<Target>,
}

// === impl Steps ===

impl<'a> Steps<'a> {
    /// No steps yet. `profiles` are the configuration's, `deciders` those that the handler may ask.
    pub fn new(ask: &'a Ask<'a>, profiles: &'a [String], deciders: &'a [Named<dyn Decider>]) -> Self {
        Self { ask, profiles, deciders, ran: Vec::new(), verdicts: Vec::new() }
    }

    /// The question.
    pub fn ask(&self) -> &Ask<'_> {
        self.ask
    }

    /// The profiles of the configuration.
    pub fn profiles(&self) -> &'a [String] {
        self.profiles
    }

    /// Whether the configuration has this profile.
    pub fn has(&self, profile: &str) -> bool {
        self.profiles.iter().any(|known| known == profile)
    }

    /// What `profile` chose, the serving endpoint first; empty where its filters left none. `None` if it did not run.
    pub fn chosen(&self, profile: &str) -> Option<&[Target]> {
        self.ran.iter().find(|ran| ran.profile == profile).map(|ran| ran.targets.as_slice())
    }

    /// Whether `decider` wants an endpoint of its own for `stage`. `instead` is the profile whose endpoint does the
    /// work otherwise. A decider is asked once for each stage.
    pub fn separate(&mut self, decider: &str, stage: Stage, instead: Option<&str>) -> bool {
        if let Some(known) = self.verdicts.iter().find(|known| known.stage == stage) {
            return known.separate;
        }
        let chosen = instead.and_then(|profile| self.chosen(profile)).and_then(|targets| targets.first());
        let named = self.deciders.iter().find(|named| named.name == decider);
        let Verdict { separate, reason } = match named {
            Some(named) => named.plugin.decide(self.ask, stage, chosen),
            // The configuration's check lets no such name pass.
            None => Verdict { separate: false, reason: format!("no decider is called `{decider}`") },
        };
        self.verdicts.push(VerdictExplanation { stage, decider: decider.to_owned(), separate, reason });
        separate
    }

    /// The endpoint that is chosen for the stage that works together with `stage`: see [`Ask::peer`].
    pub(super) fn peer_of(&self, stage: Stage) -> Option<&Target> {
        let other = match stage {
            Stage::Prefill => Stage::Decode,
            Stage::Decode => Stage::Prefill,
            Stage::Encode => return None,
        };
        self.ran.iter().find(|ran| ran.stage == other).and_then(|ran| ran.targets.first())
    }

    /// Records a verdict that the profile handler reached without a decider.
    pub(super) fn judged(&mut self, verdict: VerdictExplanation) {
        self.verdicts.push(verdict);
    }

    /// Records that a profile ran.
    pub(super) fn ran(&mut self, profile: &str, stage: Stage, targets: Vec<Target>) {
        self.ran.push(Ran { profile: profile.to_owned(), stage, targets });
    }

    /// Takes the result of `profile` out, if it chose any endpoint.
    pub(super) fn take(&mut self, profile: &str) -> Option<Ran> {
        let at = self.ran.iter().position(|ran| ran.profile == profile && !ran.targets.is_empty())?;
        Some(self.ran.swap_remove(at))
    }

    /// The verdicts, in order.
    pub(super) fn into_verdicts(self) -> Vec<VerdictExplanation> {
        self.verdicts
    }
}

#[cfg(test)]
impl Steps<'_> {
    /// Records a run for tests of profile handlers.
    pub(crate) fn ran_for_test(&mut self, profile: &str, stage: Stage, targets: Vec<Target>) {
        self.ran(profile, stage, targets);
    }
}
