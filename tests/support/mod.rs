//! What the tests of a whole replica share: a replica to talk to, Envoy's side of the talk, and engines.
//!
//! Must not know which test uses it.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod engine;
pub mod envoy;
pub mod meeting;
pub mod parts;
pub mod replica;
pub mod talk;

pub use engine::{Engine, Manner};
pub use meeting::Meeting;
pub use replica::{Config, Replica, SHEDDABLE};
pub use talk::{PATIENCE, Talk};
