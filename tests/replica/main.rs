//! Real replicas on loopback, tested from outside. One program, because each would compile the whole replica again.
//!
//! `tests/stream_burst.rs` has a process of its own: it measures memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod connections;
mod ext_proc_contract;
mod faults;
mod health;
mod kubernetes;
mod supervision;
mod three_replicas;
