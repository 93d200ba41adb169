//! The legs of a request: which engines are asked, in what order, and what happens when one fails.
//!
//! Must not know how a request arrived. Every leg is a future inside that of its request, so a client that leaves cancels
//! the legs that run.

pub(super) mod cache_first;
pub(super) mod concurrent;
pub(super) mod decode;
pub(super) mod encode;
mod opening;
pub(super) mod prefill;
pub(super) mod sequential;
