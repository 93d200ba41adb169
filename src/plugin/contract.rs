//! What a plugin is: four traits, and for each a `...Plugin` that builds it from its parameters.
//!
//! Must not know configuration files: parameters arrive as serde values that are already of the right type.

use std::fmt::Debug;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::schedule::decision::Stage;
use crate::schedule::{Ask, Candidate};

/// Removes candidates.
pub trait Filter: Debug + Send {
    /// Sets `keep[i]` to `false` for each `candidates[i]` that must not serve `ask`. `keep` arrives all `true` and is as
    /// long as `candidates`, which holds only those that earlier filters left.
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]);

    /// How it knows a request's session; `None` where it does not ask for sessions.
    fn session(&self) -> Option<&SessionSource> {
        None
    }
}

/// Scores candidates.
pub trait Scorer: Debug + Send {
    /// Fills `scores[i]` for `candidates[i]`, `0.0..=1.0`, higher is better. `scores` arrives all `0.0`. What is outside
    /// of the range is clamped and NaN counts as `0.0`.
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]);

    /// How it knows a request's session; `None` where it does not ask for sessions.
    fn session(&self) -> Option<&SessionSource> {
        None
    }
}

/// Chooses among scored candidates.
pub trait Picker: Debug + Send {
    /// Pushes indices into `candidates` to `chosen`, the serving endpoint first and its fallbacks after it; at least
    /// one when there is any candidate. `totals[i]` is the weighted sum of `candidates[i]`.
    fn pick(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate<'_>],
        totals: &[f64],
        chance: &mut Chance,
        chosen: &mut Vec<usize>,
    );
}

/// Says which scheduling profiles run for a request, and for which stage each one's result counts.
pub trait ProfileHandler: Debug + Send {
    /// The profiles to run, by their index in the configuration, with the stage each is for. The first is the one that
    /// the request is sent to.
    fn stages(&self, ask: &Ask<'_>, profiles: &[String]) -> Vec<(usize, Stage)>;
}

/// What has to be kept for some plugin to read; what nobody reads is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Produced {
    /// [`Candidate::matched`] and [`Candidate::uncached_tokens`]: `approx-prefix-cache-producer`.
    PrefixMatch,
    /// [`Candidate::in_flight`]: `inflight-load-producer`.
    InFlightLoad,
}

/// How a plugin knows a request's session. Header names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// The client says again which endpoint the last answer named: [`Candidate::session`]'s `token`.
    Token {
        /// The header, of requests and of answers.
        header: String,
    },
    /// The client names the session, and its endpoint is remembered: [`Candidate::session`]'s `id`.
    Id {
        /// The headers that may name it; the first that is there counts.
        headers: Vec<String>,
        /// How long a session's endpoint is remembered after its last request.
        ttl: Duration,
    },
}

/// A sentence about parameters that are of the right type and still can't be meant; for example
/// "affinityThreshold must be within 0 and 1, got 80".
pub type Invalid = String;

/// The parameters of plugins that take none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

// === impl Produced ===

impl Produced {
    /// Everything: the safe answer of a plugin that does not say.
    pub const ALL: &'static [Self] = &[Self::PrefixMatch, Self::InFlightLoad];
}

/// A [`Filter`] that the catalog can build.
pub trait FilterPlugin: Filter + Sized + 'static {
    /// The field's own name, such as `decode-filter`.
    const TYPE: &'static str;
    /// Its parameters: `#[serde(deny_unknown_fields, rename_all = "camelCase", default)]`. They are written out again in
    /// the effective configuration.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads beside the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, when the parameters contradict themselves or leave their range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`Scorer`] that the catalog can build.
pub trait ScorerPlugin: Scorer + Sized + 'static {
    /// The field's own name, such as `queue-scorer`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads beside the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, when the parameters contradict themselves or leave their range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`Picker`] that the catalog can build.
pub trait PickerPlugin: Picker + Sized + 'static {
    /// The field's own name, such as `max-score-picker`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads beside the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, when the parameters contradict themselves or leave their range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`ProfileHandler`] that the catalog can build.
pub trait ProfileHandlerPlugin: ProfileHandler + Sized + 'static {
    /// The field's own name, such as `single-profile-handler`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads beside the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, when the parameters contradict themselves or leave their range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}
