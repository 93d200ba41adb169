//! The gossip lane: who lives, and what they say, over chitchat on sealed datagrams.
//!
//! Must not know what a fact means, nor who keeps which endpoint. Everything that the tier shares converges by this lane
//! alone; peer streams only make it younger.

mod delivery;
mod envelope;
mod fanout;
mod incarnations;
mod joining;
mod keyring;
mod lane;
mod link;
mod membership;
mod opening;
mod parts;
mod rotation;
mod rounds;
mod screen;
mod seeds;
mod server;
mod sessions;
mod settings;
mod tokens;
mod transport;

pub use envelope::Datagram;
pub use incarnations::Health;
pub use keyring::KeyError;
pub use lane::Gossip;
pub use opening::{Opener, screen};
pub use screen::Unfit;
pub use settings::{GossipError, GossipSettings, Seal};

/// The key of a replica's card.
const CARD: &str = "card";
/// The key of the number of its last fact.
const HEAD: &str = "h";
/// The key of the salt that it hashes prompts under; absent where that was given.
const SALT: &str = "s";
/// Bytes of a value at most. A value that fits no datagram would block every later word of its replica.
const VALUE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
