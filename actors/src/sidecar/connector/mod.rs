//! What each leg of a request is asked, for each way in which engines hand over a KV cache.
//!
//! Pure functions of the request and of what engines answered. Must not know sockets, time or which engine is asked.

pub(crate) mod encoder;
pub(crate) mod mooncake;
pub(crate) mod nixl;
pub(crate) mod offloading;
pub(crate) mod sequences;
pub(crate) mod sglang;
pub(crate) mod shared_storage;

/// The field that carries the parameters of a hand-off, in requests and answers.
pub(crate) const KV_PARAMS: &str = "kv_transfer_params";
