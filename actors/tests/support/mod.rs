//! Envoy's side of the talk, shared with the tests of the whole house.
//!
//! Must not know which test uses it.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

#[path = "../../../tests/support/envoy.rs"]
pub mod envoy;
#[path = "../../../tests/support/talk.rs"]
pub mod talk;
