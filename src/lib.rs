//! The scheduler of one Endpoint Picker replica.
//!
//! Everything in this crate decides and never waits: no sockets, no clock, no dice, no log, no threads. Time arrives as
//! an argument, chance is drawn from the request's own content, and every fact worth telling leaves as an [`event::Event`].
//! Two schedulers that were told the same things give the same answers, which is what lets a tier of replicas route as one.
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
