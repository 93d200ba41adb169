//! Accepted connections, from the socket to the HTTP server: how many there may be, how long each may say nothing, and
//! what is repaired on the way in.
//!
//! Must not know what is served on them.

mod arrivals;
mod block;
mod frames;
mod huffman;
mod overheard;
mod paced;
mod repaired;
mod server_name;
mod teller;

pub(crate) use arrivals::{Arrivals, Bounds, caller};
pub use frames::{Frames, Walked};
pub(crate) use overheard::overheard;
pub(crate) use paced::Paced;
pub(crate) use repaired::{IDLE_MAX, Repaired};
pub use server_name::server_name;
#[cfg(test)]
pub(crate) use server_name::tests::hello;
pub use teller::Teller;
