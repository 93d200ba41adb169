//! `label-selector-filter`: endpoints whose labels match a Kubernetes label selector.
//!
//! Must not know what any label means.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::plugin::contract::Filter;
use crate::plugin::registration::{Invalid, Plugin, Produced, Roles};
use crate::schedule::{Ask, Candidate};

/// The selector: both parts must match, and an empty selector matches everything.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels that must have exactly these values, all of them.
    pub match_labels: BTreeMap<String, String>,
    /// Conditions that must all hold.
    pub match_expressions: Vec<Expression>,
}

/// One condition.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Expression {
    /// The label.
    pub key: String,
    /// How the label is tested.
    pub operator: Operator,
    /// The values for `In` and `NotIn`, at least one; the other operators take none.
    #[serde(default)]
    pub values: Vec<String>,
}

/// Kubernetes' selector operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Operator {
    /// The label is present with one of the values.
    In,
    /// The label is absent or has none of the values.
    NotIn,
    /// The label is present.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// `label-selector-filter`: keeps the endpoints whose labels match a Kubernetes label selector. Both parts must match,
/// and an empty selector keeps all.
#[derive(Clone, Debug)]
pub struct LabelSelectorFilter {
    selector: LabelSelector,
}

// === impl LabelSelectorFilter ===

impl Filter for LabelSelectorFilter {
    fn filter(&self, _: &Ask<'_>, candidates: &[Candidate<'_>], keep: &mut [bool]) {
        for (row, keep) in candidates.iter().zip(keep) {
            *keep = self.selector.matches(&row.endpoint.labels);
        }
    }
}

impl Plugin for LabelSelectorFilter {
    const TYPE: &'static str = "label-selector-filter";
    const READS: &'static [Produced] = &[];
    type Parameters = LabelSelector;

    fn build(selector: LabelSelector) -> Result<Self, Invalid> {
        for Expression { key, operator, values } in &selector.match_expressions {
            match operator {
                Operator::In | Operator::NotIn if values.is_empty() => {
                    return Err(format!("the expression on {key:?} has no values, and `{operator:?}` needs some"));
                }
                Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                    return Err(format!("the expression on {key:?} has values, and `{operator:?}` takes none"));
                }
                _ => {}
            }
        }
        Ok(Self { selector })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::filter(self)
    }
}

// === impl LabelSelector ===

impl LabelSelector {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }
}

// === impl Expression ===

impl Expression {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::plugin::testing::{endpoint, kept, request, rows};

    fn keeps(selector: serde_json::Value) -> Vec<String> {
        let endpoints = [
            endpoint("a", &[("tier", "gold"), ("zone", "x")]),
            endpoint("b", &[("tier", "silver")]),
            endpoint("c", &[("zone", "x")]),
        ];
        let filter = LabelSelectorFilter::build(serde_json::from_value(selector).unwrap()).unwrap();
        kept(&filter, &request(1, 0), &rows(&endpoints))
    }

    #[test]
    fn labels_and_expressions_must_all_hold() {
        assert_eq!(keeps(serde_json::json!({})), ["a", "b", "c"]);
        assert_eq!(keeps(serde_json::json!({"matchLabels": {"tier": "gold"}})), ["a"]);
        let both = serde_json::json!({
            "matchLabels": {"zone": "x"},
            "matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}],
        });
        assert_eq!(keeps(both), ["c"]);
    }

    #[test]
    fn operators_mean_what_they_mean_in_kubernetes() {
        let one = |operator: &str, values: &[&str]| {
            let expression = serde_json::json!({"key": "tier", "operator": operator, "values": values});
            keeps(serde_json::json!({"matchExpressions": [expression]}))
        };
        assert_eq!(one("In", &["gold", "silver"]), ["a", "b"]);
        assert_eq!(one("NotIn", &["gold"]), ["b", "c"]);
        assert_eq!(one("Exists", &[]), ["a", "b"]);
        assert_eq!(one("DoesNotExist", &[]), ["c"]);
    }

    #[test]
    fn values_must_fit_their_operator() {
        let build = |operator, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            let expression = Expression { key: "tier".to_owned(), operator, values };
            LabelSelectorFilter::build(LabelSelector {
                match_expressions: vec![expression],
                ..LabelSelector::default()
            })
        };
        assert!(build(Operator::In, &[]).unwrap_err().contains("needs some"));
        assert!(build(Operator::Exists, &["x"]).unwrap_err().contains("takes none"));
        assert!(build(Operator::NotIn, &["x"]).is_ok());
    }
}
