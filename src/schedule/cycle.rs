//! The scheduling cycle: the profile handler names stages, each stage's profile runs, the results form one decision.
//!
//! Must not know single plugins, the fleet or the ledger.

use std::sync::Arc;
use std::time::Duration;

use crate::chance::Chance;
use crate::plugin::{ProfileHandler, SessionSource};
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

/// How all plugins of a pool together identify sessions. Header names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRules {
    /// The header in which answers name the endpoint, and in which the client returns it.
    pub token_header: Option<String>,
    /// Headers in which the client names its session, in the order in which they are read.
    pub id_headers: Vec<String>,
    /// How long a binding is kept: the longest time that a plugin asks for; `None` if none does.
    pub ttl: Option<Duration>,
}

// === impl Profiles ===

impl Profiles {
    /// Profiles in the configuration's order.
    pub fn new(handler: Named<dyn ProfileHandler>, profiles: Vec<SchedulingProfile>) -> Self {
        let names = profiles.iter().map(|profile| profile.name.clone()).collect();
        Self { handler, profiles, names }
    }

    /// How the plugins identify sessions.
    pub fn sessions(&self) -> SessionRules {
        let filters = self.profiles.iter().flat_map(|profile| &profile.filters);
        let scorers = self.profiles.iter().flat_map(|profile| &profile.scorers);
        let of_scorers = scorers.filter_map(|weighted| weighted.scorer.plugin.session());
        let mut rules = SessionRules::default();
        for source in filters.filter_map(|filter| filter.plugin.session()).chain(of_scorers) {
            match source {
                SessionSource::Token { header } => {
                    rules.token_header.get_or_insert_with(|| header.clone());
                }
                SessionSource::Id { headers, ttl } => {
                    let new = headers.iter().filter(|header| !rules.id_headers.contains(header)).cloned();
                    let new: Vec<String> = new.collect();
                    rules.id_headers.extend(new);
                    rules.ttl = rules.ttl.max(Some(*ttl));
                }
            }
        }
        rules
    }

    /// Decides among `candidates`. What each profile did is added to `explanation`, also when no endpoint was found.
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
