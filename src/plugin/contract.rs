//! The plugin contract: four traits, each with a `...Plugin` trait that builds the plugin from its parameters.
//!
//! Must not know configuration files: parameters arrive as deserialized, typed values.

use std::fmt::Debug;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::schedule::decision::Stage;
use crate::schedule::{Ask, Candidate};

/// Removes candidates.
pub trait Filter: Debug + Send {
    /// Sets `keep[i]` to `false` for each `candidates[i]` that must not serve `ask`. `keep` starts all `true` and is as
    /// long as `candidates`, which holds only the candidates that earlier filters kept.
    fn filter(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]);

    /// How it identifies a request's session; `None` if it does not use sessions.
    fn session(&self) -> Option<&SessionSource> {
        None
    }
}

/// Scores candidates.
pub trait Scorer: Debug + Send {
    /// Fills `scores[i]` for `candidates[i]`, `0.0..=1.0`, higher is better. `scores` starts all `0.0`. Values outside
    /// the range are clamped, and NaN counts as `0.0`.
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]);

    /// How it identifies a request's session; `None` if it does not use sessions.
    fn session(&self) -> Option<&SessionSource> {
        None
    }
}

/// Picks among scored candidates.
pub trait Picker: Debug + Send {
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

/// Selects the scheduling profiles that run for a request, and the stage that each result is for.
pub trait ProfileHandler: Debug + Send {
    /// The profiles to run, by index in the configuration, each with its stage. The request is sent to the endpoint
    /// that the first profile picks.
    fn stages(&self, ask: &Ask<'_>, profiles: &[String]) -> Vec<(usize, Stage)>;
}

/// Data that plugins may read. It is only maintained if a plugin reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Produced {
    /// [`Candidate::matched`] and [`Candidate::uncached_tokens`]: `approx-prefix-cache-producer`.
    PrefixMatch,
    /// [`Candidate::in_flight`]: `inflight-load-producer`.
    InFlightLoad,
}

/// How a plugin identifies a request's session. Header names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSource {
    /// The client sends back the endpoint that the last answer named: [`Candidate::session`]'s `token`.
    Token {
        /// The header, in requests and in answers.
        header: String,
    },
    /// The client names the session, and its endpoint is remembered: [`Candidate::session`]'s `id`.
    Id {
        /// The headers that may name it; the first usable one counts.
        headers: Vec<String>,
        /// How long a session's endpoint is remembered after its last request.
        ttl: Duration,
    },
}

/// A sentence about parameters that have the right type but an invalid value, for example
/// "affinityThreshold must be within 0 and 1, got 80".
pub type Invalid = String;

/// The parameters of a plugin that takes none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NoParameters {}

// === impl Produced ===

impl Produced {
    /// All of it: the safe default of [`FilterPlugin::READS`] and its siblings.
    pub const ALL: &'static [Self] = &[Self::PrefixMatch, Self::InFlightLoad];
}

/// A [`Filter`] that the catalog can build.
pub trait FilterPlugin: Filter + Sized + 'static {
    /// The type's name in a configuration, such as `decode-filter`.
    const TYPE: &'static str;
    /// Its parameters: `#[serde(deny_unknown_fields, rename_all = "camelCase", default)]`. The effective configuration
    /// shows them.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads in addition to the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, if the parameters contradict each other or are out of range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`Scorer`] that the catalog can build.
pub trait ScorerPlugin: Scorer + Sized + 'static {
    /// The type's name in a configuration, such as `queue-scorer`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads in addition to the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, if the parameters contradict each other or are out of range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`Picker`] that the catalog can build.
pub trait PickerPlugin: Picker + Sized + 'static {
    /// The type's name in a configuration, such as `max-score-picker`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads in addition to the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, if the parameters contradict each other or are out of range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}

/// A [`ProfileHandler`] that the catalog can build.
pub trait ProfileHandlerPlugin: ProfileHandler + Sized + 'static {
    /// The type's name in a configuration, such as `single-profile-handler`.
    const TYPE: &'static str;
    /// Its parameters.
    type Parameters: DeserializeOwned + Serialize + Default;
    /// What it reads in addition to the engines' reports.
    const READS: &'static [Produced] = Produced::ALL;
    /// Builds the plugin.
    ///
    /// # Errors
    /// One sentence, if the parameters contradict each other or are out of range.
    fn build(parameters: Self::Parameters) -> Result<Self, Invalid>;
}
