//! Deciders: each says whether a stage of a request gets an endpoint of its own.
//!
//! Must not know which endpoints there are for the stage, nor who asks.

pub mod always;
pub mod prefix_based;

pub use always::{AlwaysDisaggMultimodalDecider, AlwaysDisaggPdDecider};
pub use prefix_based::PrefixBasedPdDecider;
