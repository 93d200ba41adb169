//! The scheduling cycle: the profile handler names stages, each stage's profile runs, the results become one decision.
//!
//! Must not know single plugins, the fleet or the ledger.

use std::sync::Arc;

use crate::chance::Chance;
use crate::plugin::ProfileHandler;
use crate::schedule::decision::{Decision, Explanation, Leg};
use crate::schedule::profile::{Named, SchedulingProfile};
use crate::schedule::{Ask, Candidate};

/// All scheduling profiles of a pool and the handler that chooses among them.
#[derive(Debug)]
pub struct Profiles {
    handler: Named<dyn ProfileHandler>,
    profiles: Vec<SchedulingProfile>,
    names: Vec<String>,
}

// === impl Profiles ===

impl Profiles {
    /// Profiles in the configuration's order.
    pub fn new(handler: Named<dyn ProfileHandler>, profiles: Vec<SchedulingProfile>) -> Self {
        let names = profiles.iter().map(|profile| profile.name.clone()).collect();
        Self { handler, profiles, names }
    }

    /// Decides among `candidates`; what each profile did is added to `explanation`, also when nobody was found.
    ///
    /// # Errors
    /// The explanation, when a stage's filters left no candidate.
    pub fn decide(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        mut explanation: Explanation,
    ) -> Result<Decision, Box<Explanation>> {
        let mut chance = Chance::from_seed(ask.request.content_hash);
        let mut legs = Vec::new();
        for (profile, stage) in self.handler.plugin.stages(ask, &self.names) {
            let Some(profile) = self.profiles.get(profile) else { continue };
            let run = profile.run(ask, candidates, &mut chance);
            explanation.profiles.push(run.explanation);
            if run.targets.is_empty() {
                return Err(Box::new(explanation));
            }
            legs.push(Leg { stage, targets: run.targets });
        }
        if legs.is_empty() {
            return Err(Box::new(explanation));
        }
        Ok(Decision { legs, explanation: Arc::new(explanation) })
    }
}
