//! Accepted connections, from the socket to the HTTP server: connection limits, deadlines for silent clients, and
//! repairs of incoming bytes.
//!
//! Must not know what is served on them.

mod arrivals;
mod block;
mod event_sink;
pub(crate) mod forward;
mod frames;
mod huffman;
mod observed;
mod paced;
mod repaired;
mod server_name;

pub(crate) use arrivals::{Arrivals, Bounds, caller};
pub use event_sink::EventSink;
pub use frames::{Frames, Walked};
pub(crate) use observed::observed;
pub(crate) use paced::Paced;
pub(crate) use repaired::{IDLE_MAX, Repaired};
pub use server_name::server_name;
#[cfg(test)]
pub(crate) use server_name::tests::hello;
