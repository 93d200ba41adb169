//! The stages of a request.
//!
//! Must not know endpoints.

use serde::Serialize;

/// The stage of a request that an endpoint is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Generates the answer; the destination of the request.
    #[default]
    Decode,
    /// Computes the prompt's KV blocks for the decode endpoint.
    Prefill,
    /// Encodes images, audio or video.
    Encode,
}
