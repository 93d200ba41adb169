//! The sidecar of a decode engine (`murmuration sidecar`), in place of llm-d's `pd-sidecar`.
//!
//! A picker names prefill and encode engines in headers. The sidecar runs the legs at those engines, hands over what they
//! computed, and passes on the decode engine's answer as it comes. What each leg is asked, which attempt is next and which
//! targets are allowed are pure functions here (`connector/`, `attempts`, `allowed`, `fields`); `legs/`, `client` and
//! `server` wait. It shares no state with a tier, and must not know pickers.

mod allow_list;
mod allowed;
mod answer;
mod api;
mod arriving;
mod asked;
mod attempts;
mod cached_tokens;
mod client;
mod client_connection;
mod connect;
mod connector;
mod fields;
mod headers;
mod leg_tls;
mod legs;
mod owned;
pub mod parsers;
mod proxy;
pub mod rules;
mod running;
mod server;
mod settings;
mod shared;
mod silence;
mod target;
mod targets_file;
mod versions;

pub use allowed::AllowedTargets;
pub use running::Sidecar;
pub use settings::{
    Deadlines, EcConnector, KvConnector, LegTls, OnPrefillFailure, PoolTargets, SidecarError, SidecarLimits,
    SidecarListeners, SidecarSettings,
};
pub use target::Target;
