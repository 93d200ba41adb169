//! An InferenceModelRewrite (v1alpha2): rules that replace the model of requests.
//!
//! Must not know how a rule is chosen.

use serde::Deserialize;
use serde_json::Value;

use super::fields::{or_default, spec};
use super::pool_ref::{self, PoolRef};
use crate::request::rewrites::{Rewrite, RewriteRule};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default", default)]
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(deserialize_with = "or_default", default)]
    matches: Vec<Match>,
    #[serde(deserialize_with = "or_default", default)]
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Match {
    model: Option<Model>,
}

#[derive(Deserialize)]
struct Model {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    model_rewrite: String,
    weight: Option<u32>,
}

/// The rules of the rewrite called `name`, in its order; `None` for a rewrite of another pool.
///
/// # Errors
/// One sentence that names the field.
pub fn rules(name: &str, object: &Value, of: &PoolRef) -> Result<Option<Vec<RewriteRule>>, String> {
    if !pool_ref::is_to(object, of)? {
        return Ok(None);
    }
    let Spec { rules } = spec(object)?;
    let read = |(number, rule): (usize, Rule)| {
        let Rule { matches, targets } = rule;
        if targets.is_empty() {
            return Err(format!("`spec.rules[{number}].targets`: it is empty"));
        }
        // Without any matches a rule is for all models; a match without a model is for none.
        let exact = !matches.is_empty();
        let models = matches.into_iter().filter_map(|one| one.model).map(|model| model.value).collect();
        let rewrite = Rewrite { name: name.to_owned(), targets: weighted(targets) };
        Ok(RewriteRule { models: exact.then_some(models), rewrite })
    };
    rules.into_iter().enumerate().map(read).collect::<Result<_, _>>().map(Some)
}

/// Where some targets have a weight, those without one get nothing; where none has, all get the same. So in llm-d.
fn weighted(targets: Vec<Target>) -> Vec<(String, u32)> {
    let none = if targets.iter().any(|target| target.weight.is_some_and(|weight| weight > 0)) { 0 } else { 1 };
    let weight = |weight: Option<u32>| if none == 1 { 1 } else { weight.unwrap_or(none) };
    targets.into_iter().map(|target| (target.model_rewrite, weight(target.weight))).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::pool::GROUP;
    use super::*;

    fn read(rules_of: Value) -> Result<Option<Vec<RewriteRule>>, String> {
        let ours = PoolRef { group: GROUP.to_owned(), name: "llama".to_owned() };
        rules("canary", &json!({ "spec": { "poolRef": { "name": "llama" }, "rules": rules_of } }), &ours)
    }

    #[test]
    fn rules_are_read_with_their_matches_and_weights() {
        let exact = |model: &str| json!({ "model": { "type": "Exact", "value": model } });
        let rules = read(json!([
            { "matches": [exact("a"), exact("b")], "targets": [{ "modelRewrite": "x", "weight": 90 }, { "modelRewrite": "y", "weight": 10 }] },
            { "targets": [{ "modelRewrite": "x" }, { "modelRewrite": "y" }] },
            { "matches": [], "targets": [{ "modelRewrite": "x", "weight": 2 }, { "modelRewrite": "y" }] },
        ]));
        let rules = rules.unwrap().unwrap();
        assert_eq!(rules[0].models.as_deref(), Some(["a".to_owned(), "b".to_owned()].as_slice()));
        let weights = |rule: usize| rules[rule].rewrite.targets.iter().map(|(_, weight)| *weight).collect::<Vec<_>>();
        assert_eq!((weights(0), weights(1), weights(2)), (vec![90, 10], vec![1, 1], vec![2, 0]));
        assert!(rules[1].models.is_none() && rules[2].models.is_none());
    }

    #[test]
    fn a_wrong_field_is_named_and_another_pools_rewrite_does_not_count() {
        assert!(read(json!([{ "targets": [] }])).unwrap_err().contains("spec.rules[0].targets"));
        let wrong = read(json!([{ "targets": [{ "modelRewrite": 1 }] }]));
        assert!(wrong.unwrap_err().contains("spec.rules[0].targets[0].modelRewrite"));
        let others = PoolRef { group: GROUP.to_owned(), name: "qwen".to_owned() };
        let object = json!({ "spec": { "poolRef": { "name": "llama" }, "rules": [] } });
        assert_eq!(rules("canary", &object, &others), Ok(None));
    }
}
