//! Admission plugins: each may reject a request before any endpoint is chosen.
//!
//! Must not know profiles.

pub mod probabilistic;

pub use probabilistic::ProbabilisticAdmitter;
