//! Reads the fields of one object, and names the field that is wrong.
//!
//! Must not know which objects there are.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The object's `spec`, as `T`.
///
/// # Errors
/// One sentence that names the field.
pub(super) fn spec<T: DeserializeOwned>(object: &Value) -> Result<T, String> {
    let Some(spec) = object.get("spec") else { return Err("`spec` is missing".to_owned()) };
    serde_path_to_error::deserialize(spec).map_err(|error| match error.path().to_string().as_str() {
        "." => format!("`spec`: {}", error.inner()),
        path => format!("`spec.{path}`: {}", error.inner()),
    })
}

/// The default of a field that is missing or null.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
