//! The plugin contract: one trait for each role in a decision. [`super::registration`] says how plugins are built.
//!
//! Must not know how a plugin is configured, nor where the rows come from.

use std::fmt::Debug;

use crate::chance::Chance;
use crate::schedule::decision::CostTerms;
use crate::schedule::pair::Paired;
use crate::schedule::{Ask, Candidate, Decision, Header, Step, Steps};

/// Removes candidates.
pub trait Filter: Debug + Send + Sync {
    /// Sets `keep[i]` to `false` for each `candidates[i]` that must not serve `ask`. `keep` starts all `true` and is as
    /// long as `candidates`, which holds only the candidates that earlier filters kept.
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]);
}

/// Scores candidates.
pub trait Scorer: Debug + Send + Sync {
    /// Fills `scores[i]` for `candidates[i]`, `0.0..=1.0`, higher is better. `scores` starts all `0.0`. Values outside
    /// the range are clamped, and NaN counts as `0.0`.
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]);

    /// The terms of the scores of the `shown` candidates, for explanations, in the same order; empty where scores have
    /// none.
    fn terms(&self, _ask: &Ask<'_>, _candidates: &[Candidate<'_>], _shown: &[usize]) -> Vec<CostTerms> {
        Vec::new()
    }

    /// Whether its scores allow for what other replicas dispatch at the same moment. Then the best total wins in a
    /// burst too; otherwise the picker spreads the burst over nearly equal rows.
    fn expects_others(&self) -> bool {
        false
    }
}

/// Picks among scored candidates.
pub trait Picker: Debug + Send + Sync {
    /// Pushes indices into `candidates` to `chosen`: the serving endpoint first, then its fallbacks. Pushes at least
    /// one if there is any candidate. `totals[i]` is the weighted sum of `candidates[i]`.
    fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        totals: &[f64],
        chance: &mut Chance,
        chosen: &mut Vec<usize>,
    );
}

/// Chooses the scheduling profiles that run for a request, one step after the other.
pub trait ProfileHandler: Debug + Send + Sync {
    /// The profiles that it may run, for the check of a configuration.
    fn runs(&self) -> Runs<'_>;

    /// Names of the deciders that it asks, for the check of a configuration.
    fn deciders(&self) -> Vec<&str> {
        Vec::new()
    }

    /// The request header that names a profile, in lower case; `None` if it reads none.
    fn profile_header(&self) -> Option<&str> {
        None
    }

    /// The port of the chosen endpoint's host that requests are sent to, if that is not the endpoint's own.
    fn primary_port(&self) -> Option<u16> {
        None
    }

    /// Profiles of which it uses the filters alone. Scorers in them would have no effect and are refused.
    fn filters_only(&self) -> Vec<&str> {
        Vec::new()
    }

    /// Whether it allows for what other replicas dispatch at the same moment, as a scorer may.
    fn expects_others(&self) -> bool {
        false
    }

    /// The choice of [`Step::Pair`]; `None` if no endpoint may decode.
    fn pair(&self, _ask: &Ask<'_>, _decoders: &[Candidate<'_>], _prefillers: &[Candidate<'_>]) -> Option<Paired> {
        None
    }

    /// The next step, given the `steps` so far. It is called again after each profile that ran.
    fn next<'h>(&'h self, steps: &mut Steps<'h>) -> Step<'h>;
}

/// Admits a request or rejects it, before any profile runs. All declared ones are asked, in the configuration's order.
pub trait Admission: Debug + Send + Sync {
    /// # Errors
    /// One sentence for the client, if the request is rejected.
    fn admit(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], chance: &mut Chance) -> Result<(), String>;
}

/// Adds headers to a request that was decided, for the engine or its sidecar.
pub trait RequestHook: Debug + Send + Sync {
    /// The headers. They replace those of the same name.
    fn request_headers(&self, ask: &Ask<'_>, decision: &Decision) -> Vec<Header>;
}

/// Adds headers to the answer of a request that was decided, for the client. Not with `--response-path leave`.
pub trait ResponseHook: Debug + Send + Sync {
    /// The headers. They replace those of the same name.
    fn response_headers(&self, _ask: &Ask<'_>, _decision: &Decision) -> Vec<Header> {
        Vec::new()
    }

    /// The header that tells the client which endpoint served, in lower case, if it gets one. The gateway reports that
    /// endpoint with the answer; a value that begins with `fail:` says that it did not.
    fn served_header(&self) -> Option<&str> {
        None
    }
}

/// The profiles that a handler runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Runs<'h> {
    /// The only profile of the configuration, whatever its name is.
    TheOnly,
    /// One of the configuration's profiles, which the request names.
    Requested,
    /// Profiles by name.
    Named {
        /// They must be in the configuration.
        required: Vec<&'h str>,
        /// They run if they are in the configuration.
        optional: Vec<&'h str>,
    },
}
