//! The body of one Endpoint Picker replica.
//!
//! Everything here waits, listens, delivers, and never decides: rules live in the crate `murmuration`. Each actor is a
//! folder of `mod.rs` (what it is for), `message.rs` (its letters and its handle) and `actor.rs` (each arm: translate,
//! call the mind, deliver).

pub mod ext_proc;
pub mod scheduler;
