//! The scheduling cycle: admission plugins may reject the request, then the profile handler names one profile after the
//! other, each runs, and the results form one decision, to which hooks add headers.
//!
//! Must not know single plugins, the fleet or the ledger.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::chance::Chance;
use crate::fleet::{Endpoint, TopologyLabels};
use crate::id::{EndpointId, PluginName};
use crate::plugin::{Admission, Decider, Kept, ProfileHandler, RequestHook, ResponseHook, SessionSource};
use crate::schedule::decision::{Decision, Explanation, Leg, ProfileExplanation, Target, VerdictExplanation};
use crate::schedule::named::Named;
use crate::schedule::pair::PairExplanation;
use crate::schedule::profile::{SchedulingProfile, target};
use crate::schedule::{Ask, Candidate, Header, Stage, Step, Steps};

/// Steps of one decision at most; a handler that wants more gets no decision.
pub const STEPS_MAX: usize = 8;
/// Separates the draws of admission from other uses of the same hashes.
const ADMISSION_SALT: u64 = 0x6164_6d69_7400_0000;

/// The plugins of a pool by their roles, all of them as the configuration orders them.
#[derive(Debug)]
pub struct Plugins {
    /// Chooses the profiles.
    pub handler: Named<dyn ProfileHandler>,
    /// Those that the handler may ask.
    pub deciders: Vec<Named<dyn Decider>>,
    /// The profiles.
    pub profiles: Vec<SchedulingProfile>,
    /// Each may reject a request.
    pub admissions: Vec<Named<dyn Admission>>,
    /// Each may add headers to a request.
    pub request_hooks: Vec<Named<dyn RequestHook>>,
    /// Each may add headers to an answer.
    pub response_hooks: Vec<Named<dyn ResponseHook>>,
    /// What is kept for all of them between requests.
    pub kept: Vec<Kept>,
    /// The request headers that they read, in lower case.
    pub headers: Vec<String>,
    /// The labels that say where endpoints run.
    pub topology: TopologyLabels,
}

/// The plugins of a pool, ready to decide.
#[derive(Debug)]
pub struct Profiles {
    plugins: Plugins,
    names: Vec<String>,
    sessions: SessionRules,
}

/// Why there is no decision.
#[derive(Clone, Debug, PartialEq)]
pub enum Undecided {
    /// An admission plugin rejected the request; its sentence for the client.
    Rejected(String),
    /// The request asks for something that does not exist; one sentence for the client.
    Invalid(String),
    /// A stage that the request needs found no endpoint, or the profile handler came to no end.
    NoEndpoints(Box<Explanation>),
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
    /// Decides by these plugins.
    pub fn new(plugins: Plugins) -> Self {
        let names = plugins.profiles.iter().map(|profile| profile.name.clone()).collect();
        let sessions = SessionRules::of(&plugins.kept);
        Self { plugins, names, sessions }
    }

    /// Whether some profile, or the handler, allows for what other replicas dispatch at the same moment.
    pub fn expect_others(&self) -> bool {
        let profiles = self.plugins.profiles.iter().any(SchedulingProfile::expects_others);
        profiles || self.plugins.handler.plugin.expects_others()
    }

    /// How the plugins identify sessions.
    pub fn sessions(&self) -> SessionRules {
        self.sessions.clone()
    }

    /// The request header that names a profile, in lower case, if the handler reads one.
    pub fn profile_header(&self) -> Option<&str> {
        self.plugins.handler.plugin.profile_header()
    }

    /// The request headers that plugins read, in lower case.
    pub fn reads_headers(&self) -> &[String] {
        &self.plugins.headers
    }

    /// The headers of an answer that tell the client which endpoint served, in lower case.
    pub fn served_headers(&self) -> impl Iterator<Item = &str> {
        self.plugins.response_hooks.iter().filter_map(|hook| hook.plugin.served_header())
    }

    /// Decides among `candidates`. What each profile did is added to `explanation`, also when no endpoint was found.
    ///
    /// # Errors
    /// Why there is no decision: see [`Undecided`].
    pub fn decide(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        mut explanation: Explanation,
    ) -> Result<Decision, Undecided> {
        let ask = &Ask { topology: &self.plugins.topology, ..*ask };
        let content = ask.request.content_hash;
        // A retry under another id may be admitted where the first was not.
        let mut draw = Chance::from_seed(xxh3_64_with_seed(ask.request.id.as_bytes(), content ^ ADMISSION_SALT));
        for admission in &self.plugins.admissions {
            admission.plugin.admit(ask, candidates, &mut draw).map_err(Undecided::Rejected)?;
        }
        let mut chance = Chance::from_seed(content);
        let mut steps = Steps::new(ask, &self.names, &self.plugins.deciders);
        let mut legs = Vec::new();
        for _ in 0..STEPS_MAX {
            match self.plugins.handler.plugin.next(&mut steps) {
                Step::Run { profile, stage } => {
                    let Some(found) = self.plugins.profiles.iter().find(|known| known.name == profile) else { break };
                    let peer = steps.peer_of(stage).and_then(|peer| endpoint(&peer.endpoint, candidates));
                    let run = found.run(&Ask { peer, ..*ask }, candidates, &mut chance);
                    explanation.profiles.push(ProfileExplanation { stage, ..run.explanation });
                    steps.ran(profile, stage, run.targets);
                }
                Step::Done(profiles) => {
                    let found = profiles.into_iter().map_while(|profile| steps.take(profile));
                    legs.extend(found.map(|ran| Leg::new(ran.stage, ran.targets)));
                    without_detours(&mut legs);
                    break;
                }
                Step::Pair { decode, prefill } => {
                    let Some(paired) = self.pair(ask, candidates, [decode, prefill], &mut steps) else { break };
                    explanation.profiles.extend(paired.0);
                    explanation.pair = paired.1;
                }
                Step::Refuse => break,
                Step::Reject(sentence) => return Err(Undecided::Invalid(sentence)),
            }
        }
        let Named { name, kind, .. } = &self.plugins.handler;
        explanation.handler = PluginName { name: name.clone(), kind };
        explanation.verdicts = steps.into_verdicts();
        if legs.is_empty() {
            return Err(Undecided::NoEndpoints(Box::new(explanation)));
        }
        let primary_port = self.plugins.handler.plugin.primary_port();
        Ok(Decision { primary_port, ..Decision::new(legs, explanation) })
    }

    /// Chooses the endpoints of two stages together. Returns what both profiles did, the one that decodes first, and
    /// what was compared; `None` if there is no such profile.
    fn pair(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        [decode, prefill]: [&str; 2],
        steps: &mut Steps<'_>,
    ) -> Option<(Vec<ProfileExplanation>, Option<PairExplanation>)> {
        let profile = |name: &str| self.plugins.profiles.iter().find(|known| known.name == name);
        let (decoders, decode_filters) = profile(decode)?.narrowed(ask, candidates);
        let (prefillers, prefill_filters) = profile(prefill)?.narrowed(ask, candidates);
        // Who decodes can prefill too, so none that fails is needed.
        let prefillers: Vec<Candidate<'_>> = prefillers.iter().filter(|row| row.failing.is_none()).copied().collect();
        let explained = |name: &str, stage, filters, targets: &[Target]| {
            let picked = targets.iter().map(|target| target.endpoint.clone()).collect();
            ProfileExplanation { profile: name.to_owned(), stage, filters, picked, ..ProfileExplanation::default() }
        };
        let Some(paired) = self.plugins.handler.plugin.pair(ask, &decoders, &prefillers) else {
            // The filters of the other stage have nothing to do with it.
            steps.ran(decode, Stage::Decode, Vec::new());
            return Some((vec![explained(decode, Stage::Decode, decode_filters, &[])], None));
        };
        let decoding = vec![target(&decoders[paired.decode], -paired.cost)];
        let prefilling: Vec<Target> = paired.prefill.iter().map(|(at, cost)| target(&prefillers[*at], -cost)).collect();
        let (separate, reason) = (!prefilling.is_empty(), paired.reason);
        let decider = self.plugins.handler.name.clone();
        steps.judged(VerdictExplanation { stage: Stage::Prefill, decider, separate, reason });
        let runner_up = paired.explanation.rows.get(1).map_or(paired.cost, |row| row.terms.cost);
        let margin = runner_up - paired.cost;
        let profiles = vec![
            ProfileExplanation { margin, ..explained(decode, Stage::Decode, decode_filters, &decoding) },
            explained(prefill, Stage::Prefill, prefill_filters, &prefilling),
        ];
        steps.ran(decode, Stage::Decode, decoding);
        steps.ran(prefill, Stage::Prefill, prefilling);
        Some((profiles, Some(paired.explanation)))
    }

    /// Lets the hooks add their headers to a decision whose costs are known.
    pub fn hook(&self, ask: &Ask<'_>, decision: &mut Decision) {
        let ask = &Ask { topology: &self.plugins.topology, ..*ask };
        let request = self.plugins.request_hooks.iter().flat_map(|hook| hook.plugin.request_headers(ask, decision));
        let request: Vec<Header> = request.collect();
        let response = self.plugins.response_hooks.iter().flat_map(|hook| hook.plugin.response_headers(ask, decision));
        decision.response_headers = response.collect();
        decision.request_headers = request;
    }
}

/// The endpoint called `id` as the view has it.
fn endpoint<'a>(id: &EndpointId, candidates: &[Candidate<'a>]) -> Option<&'a Endpoint> {
    candidates.iter().find(|row| row.endpoint.id == *id).map(|row| row.endpoint)
}

/// An endpoint that would work for itself is no endpoint apart: the request is sent there anyway.
fn without_detours(legs: &mut Vec<Leg>) {
    let Some(destination) = legs.first().and_then(|leg| leg.targets.first()).map(|target| target.endpoint.clone())
    else {
        return;
    };
    let mut first = true;
    legs.retain(|leg| {
        let same = leg.targets.first().is_some_and(|target| target.endpoint == destination);
        std::mem::take(&mut first) || !same
    });
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
