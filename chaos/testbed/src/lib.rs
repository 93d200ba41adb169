//! The testbed: a whole tier as processes on one machine, a client load, and storms of faults.
//!
//! [`local`] starts engines, replicas and Envoy. [`check`] checks a tier without faults, [`storm`] one under faults.

pub mod check;
pub mod local;
mod peers_page;
pub mod storm;
