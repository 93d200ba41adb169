//! The catalog of plugins: which types exist and how each is built from its parameters.
//!
//! Must not know files or profiles. Types are added explicitly, so that the source shows what a catalog contains:
//!
//! ```ignore
//! let catalog = Catalog::builtin().register::<MyScorer>();
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::admission::ProbabilisticAdmitter;
use super::decider::{AlwaysDisaggMultimodalDecider, AlwaysDisaggPdDecider, PrefixBasedPdDecider};
use super::filter::{
    DecodeFilter, EncodeFilter, HeaderBasedTestingFilter, LabelSelectorFilter, PrefillFilter,
    PrefixCacheAffinityFilter, SessionAffinityFilter, TopologyAffinityFilter,
};
use super::parameters::{self, Fault};
use super::picker::{MaxScorePicker, RandomPicker, WeightedRandomPicker};
use super::profile_handler::{
    DataParallelProfileHandler, DisaggProfileHandler, HeaderProfileHandler, PairProfileHandler, PdProfileHandler,
    SingleProfileHandler,
};
use super::registration::{Kept, Plugin, Produced, Roles};
use super::scorer::{
    ActiveRequestScorer, KvCacheUtilizationScorer, LoraAffinityScorer, PrefillCostScorer, PrefixCacheScorer,
    QueueScorer, RunningRequestsSizeScorer, SessionAffinityScorer, TokenLoadScorer, TopologyAffinityScorer,
};
use super::served_verifier::DestinationEndpointServedVerifier;

/// Plugin types by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    build: fn(&Value) -> Result<Built, Fault>,
}

/// A plugin: its roles, its parameters with all defaults, what it reads (request headers too) and what is kept for it.
#[derive(Clone, Debug)]
pub(crate) struct Built {
    pub(crate) roles: Roles,
    pub(crate) parameters: Value,
    pub(crate) reads: &'static [Produced],
    pub(crate) keeps: Vec<Kept>,
    pub(crate) headers: Vec<String>,
}

// === impl Catalog ===

impl Catalog {
    /// A catalog without types.
    pub fn empty() -> Self {
        Self::default()
    }

    /// All plugin types that come with Murmuration.
    pub fn builtin() -> Self {
        Self::empty()
            .register::<LabelSelectorFilter>()
            .register::<HeaderBasedTestingFilter>()
            .register::<DecodeFilter>()
            .register::<PrefillFilter>()
            .register::<EncodeFilter>()
            .register::<PrefixCacheAffinityFilter>()
            .register::<SessionAffinityFilter>()
            .register::<TopologyAffinityFilter>()
            .register::<QueueScorer>()
            .register::<RunningRequestsSizeScorer>()
            .register::<KvCacheUtilizationScorer>()
            .register::<LoraAffinityScorer>()
            .register::<PrefixCacheScorer>()
            .register::<TokenLoadScorer>()
            .register::<PrefillCostScorer>()
            .register::<ActiveRequestScorer>()
            .register::<SessionAffinityScorer>()
            .register::<TopologyAffinityScorer>()
            .register::<MaxScorePicker>()
            .register::<RandomPicker>()
            .register::<WeightedRandomPicker>()
            .register::<SingleProfileHandler>()
            .register::<DisaggProfileHandler>()
            .register::<PdProfileHandler>()
            .register::<PairProfileHandler>()
            .register::<HeaderProfileHandler>()
            .register::<DataParallelProfileHandler>()
            .register::<ProbabilisticAdmitter>()
            .register::<DestinationEndpointServedVerifier>()
            .register::<PrefixBasedPdDecider>()
            .register::<AlwaysDisaggPdDecider>()
            .register::<AlwaysDisaggMultimodalDecider>()
    }

    /// Adds a plugin type; a type of the same name is replaced.
    #[must_use]
    pub fn register<T: Plugin>(mut self) -> Self {
        self.entries.insert(T::TYPE, Entry { build: built::<T> });
        self
    }

    /// The types in the catalog, in alphabetical order.
    pub fn types(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.keys().copied()
    }

    /// Builds a plugin of the type `kind`; `None` if the catalog has no such type.
    pub(crate) fn build(&self, kind: &str, parameters: &Value) -> Option<Result<Built, Fault>> {
        self.entries.get(kind).map(|entry| (entry.build)(parameters))
    }
}

fn built<T: Plugin>(given: &Value) -> Result<Built, Fault> {
    let typed: T::Parameters = parameters::read(given)?;
    let parameters = parameters::write(&typed);
    let plugin = Arc::new(T::build(typed).map_err(Fault::whole)?);
    let headers = plugin.reads_headers().iter().map(|name| name.to_ascii_lowercase()).collect();
    let keeps = plugin.keeps();
    Ok(Built { roles: plugin.roles(), parameters, reads: T::READS, keeps, headers })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::contract::Scorer;
    use crate::plugin::registration::Invalid;
    use crate::schedule::{Ask, Candidate};

    /// A user-defined scorer.
    #[derive(Debug)]
    struct Fixed(f64);

    #[derive(Default, serde::Deserialize, serde::Serialize)]
    #[serde(deny_unknown_fields, default)]
    struct FixedParameters {
        value: f64,
    }

    impl Scorer for Fixed {
        fn score(&self, _: &Ask<'_>, _: &[Candidate<'_>], scores: &mut [f64]) {
            scores.fill(self.0);
        }
    }

    impl Plugin for Fixed {
        const TYPE: &'static str = "fixed-scorer";
        type Parameters = FixedParameters;

        fn build(parameters: FixedParameters) -> Result<Self, Invalid> {
            if parameters.value > 1.0 { Err("value must be at most 1".to_owned()) } else { Ok(Self(parameters.value)) }
        }

        fn roles(self: Arc<Self>) -> Roles {
            Roles::scorer(self)
        }
    }

    #[test]
    fn a_user_can_add_a_scorer() {
        let catalog = Catalog::builtin().register::<Fixed>();
        let built = catalog.build("fixed-scorer", &serde_json::json!({"value": 0.5})).unwrap().unwrap();
        assert_eq!(built.roles.nouns(), "a scorer");
        assert_eq!(built.reads, Produced::ALL, "a plugin without `READS` reads everything");
        let fault = catalog.build("fixed-scorer", &serde_json::json!({"value": 2})).unwrap().unwrap_err();
        assert_eq!(fault, Fault::whole("value must be at most 1".to_owned()));
        assert!(Catalog::builtin().build("fixed-scorer", &Value::Null).is_none());
    }

    #[test]
    fn every_type_builds_from_its_defaults_and_from_its_own_output() {
        let catalog = Catalog::builtin();
        for kind in catalog.types() {
            let built = catalog.build(kind, &Value::Null).unwrap().unwrap();
            let again = catalog.build(kind, &built.parameters).unwrap().unwrap();
            assert_eq!(built.parameters, again.parameters, "{kind}");
        }
        assert_eq!(catalog.types().count(), 32);
    }
}
