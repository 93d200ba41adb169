//! Three real replicas on loopback: they find each other, share what they know, and survive the death of one.
//!
//! The endpoints are small servers of one metrics page, and every request is made over gRPC. Emulated engines would
//! test more of the routing.

mod pairs;
mod replication;
