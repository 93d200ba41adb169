//! A whole tier on one machine: emulated or real engines, Endpoint Picker replicas and a real Envoy, each a process.
//!
//! Must not know how to decide, nor anything of a request except where it enters. All parts listen on loopback only, or
//! in their own network namespaces. All of them end with the testbed, even if it is killed.

pub mod args;
mod checked;
pub mod cli;
mod engines;
mod envoy;
pub mod envoy_config;
mod envoy_fetch;
mod error;
mod itself;
mod network;
mod page;
mod pool;
mod ports;
pub mod process;
mod replicas;
mod replication;
mod run_folder;
pub mod shape;
mod sidecars;
mod table;
mod tier;
mod verbs;

use std::time::Duration;

pub use args::Args;
pub use engines::EngineSpot;
pub use envoy_fetch::find as find_envoy;
pub use error::TestbedError;
pub use network::{Missing, Network};
pub use ports::Ports;
pub use replicas::ReplicaSpot;
pub use sidecars::SidecarSpot;
pub use tier::Testbed;

/// How long each step of the start may take; a loaded machine with a debug build stays well below it.
const PATIENCE: Duration = Duration::from_secs(60);
