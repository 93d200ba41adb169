//! The scheduling cycle: the profile handler names stages, each stage's profile runs, the results become one decision.
//!
//! Must not know single plugins, the fleet or the ledger.

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

    /// Decides. `Err` carries the explanation of a cycle that found nobody for a stage.
    ///
    /// # Errors
    /// When a stage's filters left no candidate.
    pub fn decide(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>]) -> Result<Decision, Explanation> {
        let mut chance = Chance::from_seed(ask.request.content_hash);
        let mut explanation = Explanation {
            request_id: ask.request.id.clone(),
            model: ask.request.target_model.clone(),
            prompt_tokens: ask.request.prompt.tokens,
            candidates: candidates.len(),
            ..Explanation::default()
        };
        let mut legs = Vec::new();
        for (profile, stage) in self.handler.plugin.stages(ask, &self.names) {
            let Some(profile) = self.profiles.get(profile) else { continue };
            let run = profile.run(ask, candidates, &mut chance);
            explanation.profiles.push(run.explanation);
            if run.targets.is_empty() {
                return Err(explanation);
            }
            legs.push(Leg { stage, targets: run.targets });
        }
        if legs.is_empty() {
            return Err(explanation);
        }
        Ok(Decision { legs, explanation })
    }
}
