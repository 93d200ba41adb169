//! Three real replicas on loopback: they find each other, share what they know, and survive the death of one.
//!
//! The endpoints are small servers of one metrics page, and every request is made over gRPC. Emulated engines would
//! test more of the routing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "three_replicas/pairs.rs"]
mod pairs;
#[path = "three_replicas/replication.rs"]
mod replication;
