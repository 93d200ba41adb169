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

/// A change that discovery announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointChange {
    /// The endpoint is new, or its facts changed.
    Upsert(Endpoint),
    /// The endpoint is gone.
    Remove(EndpointId),
}
