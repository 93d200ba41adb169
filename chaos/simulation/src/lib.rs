//! The deterministic simulation: a cluster of real replicas and model engines in virtual time, under faults from a
//! seed.
//!
//! [`plan`] describes what may happen, [`cluster`] runs it, [`history`] records what did, and [`invariants`] judge the
//! history; [`checker`] ends a run with the first broken invariant. Must not know real processes.

pub mod checker;
pub mod cli;
pub mod cluster;
pub mod history;
pub mod invariants;
pub mod plan;
pub mod report;
pub mod shrink;
pub mod trial;
