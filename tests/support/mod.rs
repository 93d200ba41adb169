//! What the tests of a whole replica share: a replica to talk to, and Envoy's side of the talk.
//!
//! Must not know which test uses it.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod envoy;
pub mod replica;
pub mod talk;

pub use replica::{Config, Replica, SHEDDABLE};
pub use talk::Talk;
