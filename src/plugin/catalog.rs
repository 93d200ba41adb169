//! The catalog of plugins: which types exist and how each is built from its parameters.
//!
//! Must not know files or profiles. Types are added explicitly, so that the source shows what a catalog contains:
//!
//! ```ignore
//! let catalog = Catalog::builtin().scorer::<MyScorer>();
//! ```

use std::collections::BTreeMap;

use serde_json::Value;

use super::contract::{
    Filter, FilterPlugin, Picker, PickerPlugin, Produced, ProfileHandler, ProfileHandlerPlugin, Scorer, ScorerPlugin,
};
use super::filter::{
    DecodeFilter, LabelSelectorFilter, PrefillFilter, PrefixCacheAffinityFilter, SessionAffinityFilter,
};
use super::parameters::{self, Fault};
use super::picker::{MaxScorePicker, RandomPicker, WeightedRandomPicker};
use super::profile_handler::SingleProfileHandler;
use super::scorer::{
    ActiveRequestScorer, KvCacheUtilizationScorer, LoraAffinityScorer, PrefixCacheScorer, QueueScorer,
    RunningRequestsSizeScorer, SessionAffinityScorer, TokenLoadScorer,
};

/// Plugin types by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    entries: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    build: fn(&Value) -> Result<Built, Fault>,
}

/// A plugin, its parameters with all defaults, and what it reads.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) plugin: Plugin,
    pub(crate) parameters: Value,
    pub(crate) reads: &'static [Produced],
}

/// A plugin of any kind.
#[derive(Debug)]
pub(crate) enum Plugin {
    Filter(Box<dyn Filter>),
    Scorer(Box<dyn Scorer>),
    Picker(Box<dyn Picker>),
    ProfileHandler(Box<dyn ProfileHandler>),
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
            .filter::<LabelSelectorFilter>()
            .filter::<DecodeFilter>()
            .filter::<PrefillFilter>()
            .filter::<PrefixCacheAffinityFilter>()
            .filter::<SessionAffinityFilter>()
            .scorer::<QueueScorer>()
            .scorer::<RunningRequestsSizeScorer>()
            .scorer::<KvCacheUtilizationScorer>()
            .scorer::<LoraAffinityScorer>()
            .scorer::<PrefixCacheScorer>()
            .scorer::<TokenLoadScorer>()
            .scorer::<ActiveRequestScorer>()
            .scorer::<SessionAffinityScorer>()
            .picker::<MaxScorePicker>()
            .picker::<RandomPicker>()
            .picker::<WeightedRandomPicker>()
            .profile_handler::<SingleProfileHandler>()
    }

    /// Adds a filter; a type of the same name is replaced.
    #[must_use]
    pub fn filter<T: FilterPlugin>(self) -> Self {
        self.with(T::TYPE, |given| {
            built(given, T::READS, |parameters| Ok(Plugin::Filter(Box::new(T::build(parameters)?))))
        })
    }

    /// Adds a scorer; a type of the same name is replaced.
    #[must_use]
    pub fn scorer<T: ScorerPlugin>(self) -> Self {
        self.with(T::TYPE, |given| {
            built(given, T::READS, |parameters| Ok(Plugin::Scorer(Box::new(T::build(parameters)?))))
        })
    }

    /// Adds a picker; a type of the same name is replaced.
    #[must_use]
    pub fn picker<T: PickerPlugin>(self) -> Self {
        self.with(T::TYPE, |given| {
            built(given, T::READS, |parameters| Ok(Plugin::Picker(Box::new(T::build(parameters)?))))
        })
    }

    /// Adds a profile handler; a type of the same name is replaced.
    #[must_use]
    pub fn profile_handler<T: ProfileHandlerPlugin>(self) -> Self {
        self.with(T::TYPE, |given| {
            built(given, T::READS, |parameters| Ok(Plugin::ProfileHandler(Box::new(T::build(parameters)?))))
        })
    }

    /// The types in the catalog, in alphabetical order.
    pub fn types(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.entries.keys().copied()
    }

    /// Builds a plugin of the type `kind`; `None` if the catalog has no such type.
    pub(crate) fn build(&self, kind: &str, parameters: &Value) -> Option<Result<Built, Fault>> {
        self.entries.get(kind).map(|entry| (entry.build)(parameters))
    }

    fn with(mut self, kind: &'static str, build: fn(&Value) -> Result<Built, Fault>) -> Self {
        self.entries.insert(kind, Entry { build });
        self
    }
}

fn built<P>(
    given: &Value,
    reads: &'static [Produced],
    build: impl FnOnce(P) -> Result<Plugin, String>,
) -> Result<Built, Fault>
where
    P: serde::de::DeserializeOwned + serde::Serialize + Default,
{
    let typed: P = parameters::read(given)?;
    let parameters = parameters::write(&typed);
    let plugin = build(typed).map_err(Fault::whole)?;
    Ok(Built { plugin, parameters, reads })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::contract::Invalid;
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

    impl ScorerPlugin for Fixed {
        const TYPE: &'static str = "fixed-scorer";
        type Parameters = FixedParameters;

        fn build(parameters: FixedParameters) -> Result<Self, Invalid> {
            if parameters.value > 1.0 { Err("value must be at most 1".to_owned()) } else { Ok(Self(parameters.value)) }
        }
    }

    #[test]
    fn a_user_can_add_a_scorer() {
        let catalog = Catalog::builtin().scorer::<Fixed>();
        let built = catalog.build("fixed-scorer", &serde_json::json!({"value": 0.5})).unwrap().unwrap();
        assert!(matches!(built.plugin, Plugin::Scorer(_)));
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
        assert_eq!(catalog.types().count(), 17);
    }
}
