//! The scheduling cycle: the profile handler names one profile after the other, each runs, the results form one decision.
//!
//! Must not know single plugins, the fleet or the ledger.

use std::sync::Arc;
use std::time::Duration;

use crate::chance::Chance;
use crate::id::PluginName;
use crate::plugin::{Decider, Kept, ProfileHandler, SessionSource};
use crate::schedule::decision::{Decision, Explanation, Leg, ProfileExplanation};
use crate::schedule::profile::{Named, SchedulingProfile};
use crate::schedule::{Ask, Candidate, Step, Steps};

/// Steps of one decision at most; a handler that wants more ends without one.
pub const STEPS_MAX: usize = 8;

/// All scheduling profiles of a pool and the handler that chooses among them.
#[derive(Debug)]
pub struct Profiles {
    handler: Named<dyn ProfileHandler>,
    deciders: Vec<Named<dyn Decider>>,
    profiles: Vec<SchedulingProfile>,
    names: Vec<String>,
    sessions: SessionRules,
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
    /// Profiles in the configuration's order, the deciders that the handler may ask, and what is kept for all plugins.
    pub fn new(
        handler: Named<dyn ProfileHandler>,
        deciders: Vec<Named<dyn Decider>>,
        profiles: Vec<SchedulingProfile>,
        kept: &[Kept],
    ) -> Self {
        let names = profiles.iter().map(|profile| profile.name.clone()).collect();
        Self { handler, deciders, profiles, names, sessions: SessionRules::of(kept) }
    }

    /// How the plugins identify sessions.
    pub fn sessions(&self) -> SessionRules {
        self.sessions.clone()
    }

    /// Decides among `candidates`. What each profile did is added to `explanation`, also when no endpoint was found.
    ///
    /// # Errors
    /// The explanation, when the handler refused: a stage that the request needs found no endpoint.
    pub fn decide(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        mut explanation: Explanation,
    ) -> Result<Decision, Box<Explanation>> {
        let mut chance = Chance::from_seed(ask.request.content_hash);
        let mut steps = Steps::new(ask, &self.names, &self.deciders);
        let mut legs = Vec::new();
        for _ in 0..STEPS_MAX {
            match self.handler.plugin.next(&mut steps) {
                Step::Run { profile, stage } => {
                    let Some(found) = self.profiles.iter().find(|known| known.name == profile) else { break };
                    let run = found.run(ask, candidates, &mut chance);
                    explanation.profiles.push(ProfileExplanation { stage, ..run.explanation });
                    steps.ran(profile, stage, run.targets);
                }
                Step::Done(profiles) => {
                    let found = profiles.into_iter().map_while(|profile| steps.take(profile));
                    legs.extend(found.map(|ran| Leg::new(ran.stage, ran.targets)));
                    break;
                }
                Step::Refuse => break,
            }
        }
        explanation.handler = PluginName { name: self.handler.name.clone(), kind: self.handler.kind };
        explanation.verdicts = steps.into_verdicts();
        if legs.is_empty() {
            return Err(Box::new(explanation));
        }
        Ok(Decision { legs, explanation: Arc::new(explanation) })
    }
}

// === impl SessionRules ===

impl SessionRules {
    /// The rules that serve all of `kept`.
    fn of(kept: &[Kept]) -> Self {
        let mut rules = Self::default();
        for Kept::Sessions(source) in kept {
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
}
