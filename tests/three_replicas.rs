//! Three real replicas on loopback: they see each other, share what they know, and survive one's death. Emulated engines
//! would prove more of routing; here the endpoints are small servers of one metrics page, and every answer is asked for
//! over gRPC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

#[path = "three_replicas/replication.rs"]
mod replication;
