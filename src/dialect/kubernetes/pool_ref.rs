//! Which pool an object is for.
//!
//! Must not know what the object says.

use serde::Deserialize;
use serde_json::Value;

use super::{fields, pool};

/// The current group of objects that refer to a pool: objectives and model rewrites.
pub const GROUP: &str = "llm-d.ai";
/// Their former group. Where the current one is installed too, its objects are ignored, as llm-d does.
pub const GROUP_LEGACY: &str = "inference.networking.x-k8s.io";

/// A pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRef {
    /// Its group.
    pub group: String,
    /// Its name.
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    pool_ref: Reference,
}

#[derive(Deserialize)]
struct Reference {
    group: Option<String>,
    name: String,
}

/// Whether `spec.poolRef` of `object` is `pool`: name and group must be the same.
///
/// # Errors
/// One sentence that names the field.
pub fn is_to(object: &Value, pool: &PoolRef) -> Result<bool, String> {
    let Spec { pool_ref } = fields::spec(object)?;
    Ok(pool_ref.name == pool.name && pool_ref.group.as_deref().unwrap_or(pool::GROUP) == pool.group)
}
