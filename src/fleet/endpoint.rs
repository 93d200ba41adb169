//! Facts about one endpoint that discovery announced.
//!
//! Must not know Pod objects, files or DNS: an address arrives resolved.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::id::EndpointId;

/// The label that says which stages an endpoint serves.
pub const ROLE_LABEL: &str = "llm-d.ai/role";
/// The label that says which engine runs behind an endpoint.
pub const ENGINE_LABEL: &str = "llm-d.ai/engine-type";
/// The older spelling of [`ENGINE_LABEL`], still read.
pub const ENGINE_LABEL_LEGACY: &str = "inference.networking.k8s.io/engine-type";

/// One serving address of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its name in the pool.
    pub id: EndpointId,
    /// Where Envoy sends requests.
    pub address: SocketAddr,
    /// Labels of the pod, or of the entry in the endpoints file.
    pub labels: BTreeMap<String, String>,
}

/// The stages of requests that an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// It generates answers.
    pub decode: bool,
    /// It computes prompts for others.
    pub prefill: bool,
    /// It encodes images, audio and video for others.
    pub encode: bool,
}

/// Roles that decode. An endpoint without a role decodes too.
const DECODE_ROLES: [&str; 4] = ["decode", "prefill-decode", "both", "encode-prefill-decode"];
/// Roles that prefill. An endpoint without a role does not.
const PREFILL_ROLES: [&str; 5] = ["prefill", "encode-prefill", "prefill-decode", "both", "encode-prefill-decode"];
/// Roles that encode. An endpoint without a role does not.
const ENCODE_ROLES: [&str; 3] = ["encode", "encode-prefill", "encode-prefill-decode"];

/// A change that discovery announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointChange {
    /// The endpoint is new, or its facts changed.
    Upsert(Endpoint),
    /// The endpoint is gone.
    Remove(EndpointId),
}

// === impl Stages ===

impl Stages {
    /// Whether requests are sent to it: it decodes, or has a role that is not known here.
    pub fn serves(self) -> bool {
        self.decode || !(self.prefill || self.encode)
    }
}

// === impl Endpoint ===

impl Endpoint {
    /// The stages that its role label allows. It is read once, as a decision looks at each endpoint.
    pub fn stages(&self) -> Stages {
        let role = self.labels.get(ROLE_LABEL).map(String::as_str);
        let is_one_of = |roles: &[&str]| role.is_some_and(|role| roles.contains(&role));
        Stages {
            decode: role.is_none() || is_one_of(&DECODE_ROLES),
            prefill: is_one_of(&PREFILL_ROLES),
            encode: is_one_of(&ENCODE_ROLES),
        }
    }
}
