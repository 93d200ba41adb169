//! Objects of the Kubernetes API, reduced to what a pool needs: its pods as endpoints, its selector and ports, the
//! priorities of its objectives, its rules for models; and what the conditions of these say.
//!
//! Must not know clients or watches. Fields that are not read are ignored, so newer versions of an object can be read
//! too.

pub mod condition;
mod fields;
pub mod objective;
pub mod pod;
pub mod pool;
pub mod pool_ref;
pub mod rewrite;

/// The label that holds the zone of a pod, where the cluster copies it from its node.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
