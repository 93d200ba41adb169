//! The runtime of one Endpoint Picker replica.
//!
//! Everything here waits, receives and sends, and never decides: rules live in the crate `murmuration`. Each actor is a
//! folder with its messages, its handle and the actor, where each arm translates, calls the core, and delivers.

pub mod admin;
pub mod args;
pub mod cli;
pub mod clock;
pub mod connection;
pub mod discovery;
pub mod endpoint;
pub mod environment;
pub mod ext_proc;
pub mod gossip;
mod handshakes;
pub mod kubernetes;
pub mod latest_value;
pub mod peers;
pub mod pool;
pub mod prepare;
pub mod replica;
pub mod replication;
pub mod scheduler;
pub mod sidecar;
mod stall_detector;
pub mod supervise;
pub mod telemetry;
pub mod text_table;
pub mod tls;
