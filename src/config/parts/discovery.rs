//! `file-discovery`: endpoints from a file instead of Kubernetes.
//!
//! Must not know files; [`crate::config::endpoints_file`] reads the text.

use serde::{Deserialize, Serialize};

use super::part::Part;
use crate::config::blueprint::FileDiscovery;

/// llm-d's parameters and defaults.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Parameters {
    /// The endpoints file. Relative paths begin at the working directory.
    path: String,
    /// Whether the file is read again when it changes.
    watch_file: bool,
}

pub(super) fn build(parameters: &mut Parameters) -> Result<Part, String> {
    if parameters.path.is_empty() {
        return Err("`path` is missing: the file that lists the endpoints".to_owned());
    }
    Ok(Part::Discovery(FileDiscovery { path: parameters.path.clone(), watch: parameters.watch_file }))
}
