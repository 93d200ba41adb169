//! The town that a tier lives in: emulated engines, a real Envoy, a client load, and the storms that test them.
//!
//! Must not know how to decide; it starts the same replicas as production does.

pub mod bench;
pub mod check;
pub mod chronicle;
pub mod cli;
pub mod client;
pub mod engine;
pub mod judge;
pub mod noop;
pub mod plan;
pub mod promises;
pub mod replay;
pub mod report;
pub mod shrink;
pub mod sim;
pub mod storm;
pub mod town;
pub mod trial;
