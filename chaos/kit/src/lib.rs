//! What the chaos crates and the tests of a whole replica share, so that each has one home.
//!
//! [`client`] speaks HTTP to a tier, [`ext_proc`] speaks to a replica as Envoy does. [`page_server`], [`engine`] and
//! [`leg_engine`] are engines that answer as they are told, and [`api_server`] is a Kubernetes API that fails as it is
//! told. [`settings`], [`pool`], [`config`], [`tier`] and [`replica`] start replicas. [`metrics`] reads pages,
//! [`machine`] reads `/proc`, [`text`] writes prompts, and [`cli`] parses command lines.
//!
//! Must not know storms, invariants or figures.

pub mod api_server;
pub mod cli;
pub mod client;
pub mod config;
pub mod engine;
pub mod ext_proc;
pub mod leg_engine;
pub mod machine;
pub mod metrics;
pub mod page_server;
pub mod pool;
pub mod replica;
pub mod settings;
pub mod text;
pub mod tier;

pub use config::{Config, SHEDDABLE};
pub use engine::{Engine, MetricsBehavior};
pub use ext_proc::stream::{ExtProcStream, TIMEOUT};
pub use replica::Replica;
pub use tier::Tier;
