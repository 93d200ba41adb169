//! The ext-proc service: Envoy opens one stream for each HTTP request, asks where it goes, and shows the answer.
//!
//! [`exchange`] is the pure conversation of one stream, [`attendance`] drives it over a real one, [`service`] is the
//! gRPC door with its limits and [`server`] the socket. Bytes are moved, not copied: a chunk that arrived is the chunk
//! that is sent back, unless it must be re-cut or a model name is spliced in.
//!
//! Must not know scheduling, engines or the fleet: it asks through [`crate::scheduler::Asking`] and tells what it saw
//! through a [`crate::scheduler::Reservation`] and a [`Witness`].

mod admission;
mod arrivals;
pub mod attendance;
pub mod body;
mod body_memory;
mod connection_id;
pub mod control;
pub mod dice;
pub mod draft;
pub mod exchange;
#[cfg(test)]
mod fake;
pub mod headers;
pub mod metadata;
pub mod model_echo;
mod pace;
mod reading;
pub mod reply;
mod salt;
pub mod server;
pub mod service;
mod session;
pub mod settings;
pub mod witness;

pub use control::TrustedSpelling;
pub use exchange::{Exchange, Fault, Step};
pub use salt::PromptSalt;
pub use server::serve;
pub use service::Service;
pub use settings::{Limits, ResponsePath, Settings};
pub use witness::{Headers, Silent, StreamWatch, TraceContext, Witness};
