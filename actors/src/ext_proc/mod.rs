//! The ext-proc service: Envoy opens one stream for each HTTP request, asks where it goes, and shows the answer.
//!
//! [`exchange`] is the pure state machine of one stream, and [`stream_driver`] drives it over a real one. [`service`]
//! is the gRPC service with its limits, and [`server`] the socket. Bytes are moved, not copied: a chunk that arrived is
//! the chunk that is sent back, unless it must be re-cut or a model name is spliced in.
//!
//! Must not know scheduling, engines or the fleet. It asks through [`crate::scheduler::Decider`], and reports through a
//! [`crate::scheduler::Reservation`] and a [`TelemetrySink`].

mod admission;
mod arrivals;
pub mod body;
mod body_memory;
mod connection_id;
pub mod control;
pub mod exchange;
#[cfg(test)]
mod fake;
pub mod headers;
pub mod id_generator;
pub mod metadata;
pub mod model_echo;
mod pace;
mod reading;
pub mod reply;
pub mod request_builder;
mod salt;
pub mod server;
pub mod service;
mod session;
pub mod settings;
mod shared;
pub mod stream_driver;
pub mod telemetry_sink;

pub use control::TrustedSpelling;
pub use exchange::{Exchange, Fault, Step};
pub use salt::PromptSalt;
pub use server::serve;
pub use service::Service;
pub use settings::{Limits, ResponsePath, Settings};
pub use telemetry_sink::{Headers, NoTelemetry, StreamWatch, TelemetrySink, TraceContext};
