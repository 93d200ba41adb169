//! Settings of the gossip lane, and the errors that prevent its start.
//!
//! Must not know flags, or files beyond their paths.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::ReplicaCard;

use super::keyring::KeyError;
use crate::environment::{Datagrams, PeerFeed};

/// Settings of the gossip lane.
#[derive(Debug)]
pub struct GossipSettings {
    /// This replica's name; at most 256 bytes.
    pub me: ReplicaId,
    /// The incarnation to start as, unless peers remember a higher one.
    pub incarnation: Incarnation,
    /// The bound socket.
    pub socket: Box<dyn Datagrams>,
    /// The address at which peers reach it.
    pub advertise: SocketAddr,
    /// Peers to contact first: `host:port`, by address or by name. Names are resolved repeatedly, and may have many
    /// addresses.
    pub seeds: Vec<String>,
    /// Further peers, by address, that the environment finds while this replica runs.
    pub found: Option<PeerFeed>,
    /// The tier's name. Two tiers ignore each other.
    pub tier: String,
    /// Time from one round to the next; more than zero.
    pub interval: Duration,
    /// How datagrams are protected.
    pub seal: Seal,
    /// Whether to accept datagrams of the first release too, which prove neither sender nor freshness.
    pub accept_version_one: bool,
    /// What this replica publishes about itself.
    pub card: ReplicaCard,
}

/// How datagrams are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Not at all: anyone who reaches the socket can read and forge.
    Insecure,
    /// By the keys in this file: one or two lines, each 32 bytes in base64. The first seals, all open. Changes are
    /// followed.
    KeyFile(PathBuf),
}

/// Why the gossip lane can't start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The replica's name is too long, or empty.
    #[error(
        "a replica's name has 1 to {max} bytes, and this one has {0}; choose a shorter one",
        max = murmuration::replication::codec::NAME_BYTES_MAX
    )]
    Name(usize),
    /// The interval is zero.
    #[error("gossip needs an interval of more than zero; 50ms is usual")]
    Interval,
    /// The card is too large to be sent.
    #[error(
        "the replica's card has {0} bytes, and {max} can be sent; shorten the zone's name",
        max = super::VALUE_BYTES_MAX
    )]
    Card(usize),
    /// The system provides no randomness, and nothing can be sealed without it.
    #[error("the system gives no random bytes, and gossip needs some to start; is /dev/urandom there?")]
    Random,
    /// The keys can't be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The socket can't be used.
    #[error("gossip could not start on its socket: {0}")]
    Socket(String),
}
