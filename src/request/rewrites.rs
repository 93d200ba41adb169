//! Which model an engine is asked for, by rules that operators give.
//!
//! Must not know where rules come from. A weighted choice follows from the request's content, so every replica makes
//! the same.

use std::collections::BTreeMap;

use crate::chance::Chance;

/// Rules that replace the model of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites {
    /// By the model that the client asks for.
    exact: BTreeMap<String, Rewrite>,
    /// For all other models.
    generic: Option<Rewrite>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewriteRule {
    /// The models that it is for; `None` for all.
    pub models: Option<Vec<String>>,
    /// What replaces them.
    pub rewrite: Rewrite,
}

/// What replaces a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The name of the object that the rule is from.
    pub name: String,
    /// Models with their weights, at least one.
    pub targets: Vec<(String, u32)>,
}

/// The rules of one object, as its operator ordered them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatedRules {
    /// When the object was created, in seconds since 1970.
    pub created: i64,
    /// The rules.
    pub rules: Vec<RewriteRule>,
}

// === impl Rewrites ===

impl Rewrites {
    /// The rules of all these objects, those of the oldest first; of the same age, in the order in which they come.
    pub fn oldest_first<'a>(objects: impl IntoIterator<Item = &'a DatedRules>) -> Self {
        let mut dated: Vec<&DatedRules> = objects.into_iter().collect();
        dated.sort_by_key(|rules| rules.created);
        Self::new(dated.into_iter().flat_map(|dated| dated.rules.iter().cloned()))
    }

    /// These rules, the first of which wins for each model. A rule that names the model wins over one for all.
    pub fn new(rules: impl IntoIterator<Item = RewriteRule>) -> Self {
        let mut rewrites = Self::default();
        for RewriteRule { models, rewrite } in rules {
            match models {
                None => drop(rewrites.generic.get_or_insert(rewrite)),
                Some(models) => models.into_iter().for_each(|model| {
                    rewrites.exact.entry(model).or_insert_with(|| rewrite.clone());
                }),
            }
        }
        rewrites
    }

    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.generic.is_none()
    }

    /// What replaces `model`: the rule's name and the model to ask for; `None` where nothing does. `seed` follows from
    /// the request's content, and is asked for only where there is a choice.
    pub fn target(&self, model: &str, seed: impl FnOnce() -> u64) -> Option<(&str, &str)> {
        let Rewrite { name, targets } = self.exact.get(model).or(self.generic.as_ref())?;
        let chosen = match targets.as_slice() {
            [(only, _)] => only,
            targets => choose(targets, seed())?,
        };
        Some((name, chosen))
    }
}

/// One of the models, by weight.
fn choose(targets: &[(String, u32)], seed: u64) -> Option<&String> {
    let total: u64 = targets.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let mut drawn = (Chance::from_seed(seed).unit() * total as f64) as u64;
    let mut weighted = targets.iter().filter(|(_, weight)| *weight > 0);
    let is_it = |(_, weight): &&(String, u32)| {
        let weight = u64::from(*weight);
        let here = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        here
    };
    weighted.clone().find(is_it).or_else(|| weighted.next_back()).map(|(model, _)| model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, models: Option<&[&str]>, targets: &[(&str, u32)]) -> RewriteRule {
        let models = models.map(|models| models.iter().map(|model| (*model).to_owned()).collect());
        let targets = targets.iter().map(|(model, weight)| ((*model).to_owned(), *weight)).collect();
        RewriteRule { models, rewrite: Rewrite { name: name.to_owned(), targets } }
    }

    #[test]
    fn an_exact_rule_wins_over_a_generic_one_and_the_first_over_later_ones() {
        let rewrites = Rewrites::new([
            rule("all", None, &[("x", 1)]),
            rule("first", Some(&["a", "b"]), &[("y", 1)]),
            rule("second", Some(&["b", "c"]), &[("z", 1)]),
            rule("late", None, &[("never", 1)]),
        ]);
        let of = |model: &str| rewrites.target(model, || 0);
        assert_eq!(of("a"), Some(("first", "y")));
        assert_eq!(of("b"), Some(("first", "y")));
        assert_eq!(of("c"), Some(("second", "z")));
        assert_eq!(of("d"), Some(("all", "x")));
        assert_eq!(Rewrites::default().target("a", || 0), None);
    }

    #[test]
    fn a_choice_follows_the_weights_and_the_seed_alone() {
        let rewrites = Rewrites::new([rule("canary", None, &[("old", 3), ("off", 0), ("new", 1)])]);
        let of = |seed: u64| rewrites.target("m", || seed).map(|(_, model)| model.to_owned());
        let new = (0..4_000).filter(|seed| of(*seed).as_deref() == Some("new")).count();
        assert!((900..1_100).contains(&new), "{new} of 4,000");
        assert!((0..4_000).all(|seed| of(seed).as_deref() != Some("off") && of(seed) == of(seed)));
        let nothing = Rewrites::new([rule("none", None, &[("a", 0), ("b", 0)])]);
        assert_eq!(nothing.target("m", || 1), None);
    }
}
