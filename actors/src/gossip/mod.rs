//! The gossip lane: membership and the facts of each replica, over chitchat on protected datagrams.
//!
//! Must not know what a fact means, or which replica keeps which endpoint. All that the tier shares converges through
//! this lane alone; peer streams only make it fresher.

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
pub use screen::ScreenError;
pub use settings::{GossipError, GossipSettings, Seal};

/// The key of a replica's card.
const CARD: &str = "card";
/// The key of the number of its last fact about the default pool.
const HEAD: &str = "h";
/// The key of the number of its last fact about a pool that is not the default one.
fn head_key(pool: &str) -> String {
    format!("{HEAD}.{pool}")
}

/// The key of the salt that it hashes prompts with; absent where the salt was configured.
const SALT: &str = "s";
/// Most bytes of a value. A value too large for a datagram would block every later value of its replica.
const VALUE_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests;
