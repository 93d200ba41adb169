//! Envoy's side of an ext-proc stream, shared with the tests of the workspace.
#![allow(dead_code, unreachable_pub, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

#[path = "../../../tests/support/engine.rs"]
pub mod engine;
#[path = "../../../tests/support/envoy.rs"]
pub mod envoy;
#[path = "../../../tests/support/ext_proc_stream.rs"]
pub mod ext_proc_stream;
