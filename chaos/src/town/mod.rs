//! A whole tier on one machine: emulated or real engines, Endpoint Picker replicas and a real Envoy, each a process.
//!
//! Must not know how to decide, and nothing of a request but where it enters. Everything binds loopback alone, and
//! everything ends with the town, however that ends.

pub mod args;
pub mod cli;
mod engines;
mod envoy;
pub mod envoy_config;
mod envoy_fetch;
mod error;
mod ground;
mod itself;
mod network;
mod page;
mod pool_config;
mod ports;
mod process;
mod progress;
mod replicas;
mod replication;
mod table;
mod tier;
mod verbs;

use std::time::Duration;

use process::Process;

pub use args::Args;
pub use engines::EngineSpot;
pub use envoy_fetch::find as find_envoy;
pub use error::TownError;
pub use network::{Missing, Network};
pub use replicas::ReplicaSpot;
pub use tier::Town;

/// How long each step of the start may take; a loaded machine with a debug build stays well below it.
const PATIENCE: Duration = Duration::from_secs(60);
