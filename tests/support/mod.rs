//! What the tests of a whole replica share: a replica, Envoy's side of an ext-proc stream, and engines.
//!
//! Must not know which test uses it.
#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test crate uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod config_text;
pub mod engine;
pub mod envoy;
pub mod ext_proc_stream;
pub mod parts;
pub mod replica;
pub mod tier;

pub use engine::{Engine, MetricsBehavior};
pub use ext_proc_stream::{ExtProcStream, TIMEOUT};
pub use replica::{Config, Replica, SHEDDABLE};
pub use tier::Tier;
