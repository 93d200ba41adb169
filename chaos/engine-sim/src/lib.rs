//! The emulated engine: a vLLM server as a picker sees it, in two layers.
//!
//! `model` is pure (time is an argument); the simulation uses it too. `http` puts the model behind vLLM's own routes,
//! streams, errors and metrics page. Neither knows pickers.

pub mod cli;
pub mod config;
pub mod hand_off;
pub mod http;
mod machine;
pub mod model;

pub use config::EngineConfig;
pub use machine::Machine;
