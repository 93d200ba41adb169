//! An InferenceObjective (v1alpha2): the priority of requests that name it.
//!
//! Must not know requests.

use serde::Deserialize;
use serde_json::Value;

use super::fields;
use super::pool_ref::{self, PoolRef};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    priority: Option<i32>,
}

/// The priority of the objective, 0 where it states none; `None` for an objective of another pool.
///
/// # Errors
/// One sentence that names the field.
pub fn priority(object: &Value, of: &PoolRef) -> Result<Option<i32>, String> {
    let Spec { priority } = fields::spec(object)?;
    Ok(pool_ref::is_to(object, of)?.then_some(priority.unwrap_or(0)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::super::pool;
    use super::*;

    #[test]
    fn a_priority_is_read_for_the_pool_that_it_names() {
        let ours = PoolRef { group: pool::GROUP.to_owned(), name: "llama".to_owned() };
        let of = |spec: Value| priority(&json!({ "spec": spec }), &ours);
        assert_eq!(of(json!({ "poolRef": { "name": "llama" }, "priority": -3 })), Ok(Some(-3)));
        assert_eq!(of(json!({ "poolRef": { "name": "llama", "group": pool::GROUP } })), Ok(Some(0)));
        assert_eq!(of(json!({ "poolRef": { "name": "qwen" }, "priority": 1 })), Ok(None));
        assert_eq!(of(json!({ "poolRef": { "name": "llama", "group": "other" }, "priority": 1 })), Ok(None));
        assert!(of(json!({ "poolRef": {} })).unwrap_err().contains("spec.poolRef"));
        let wrong = of(json!({ "poolRef": { "name": "llama" }, "priority": 3_000_000_000_i64 }));
        assert!(wrong.unwrap_err().contains("spec.priority"));
    }
}
