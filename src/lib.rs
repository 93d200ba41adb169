//! The scheduler of one Endpoint Picker replica.
//!
//! This crate decides and never waits: no sockets, no clock, no entropy, no log, no threads. Time is an argument,
//! randomness is seeded by the request's content, and everything worth reporting leaves as an [`event::Event`].
//! Two schedulers with the same input give the same output. This lets a tier of replicas route as one.
//!
//! It must not know how facts arrive or how answers leave: that is `murmuration-actors`.

pub mod chance;
pub mod config;
pub mod dialect;
pub mod event;
pub mod fleet;
pub mod id;
pub mod plugin;
pub mod prefix;
pub mod replication;
pub mod request;
pub mod schedule;
pub mod scheduler;
pub mod session;
pub mod time;
