//! What the gossip lane is started with, and why it may not start.
//!
//! Must not know flags or files beyond their paths.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::ReplicaCard;

use super::keyring::KeyError;
use crate::environment::Datagrams;

/// What the gossip lane is started with.
#[derive(Debug)]
pub struct GossipSettings {
    /// Who gossips; at most 256 bytes.
    pub me: ReplicaId,
    /// In which incarnation, when nobody remembers a higher one.
    pub incarnation: Incarnation,
    /// The bound socket.
    pub socket: Box<dyn Datagrams>,
    /// Where others reach it.
    pub advertise: SocketAddr,
    /// Whom to ask first: `host:port`, by address or by name. Names are resolved again and again, and may stand for many.
    pub seeds: Vec<String>,
    /// The tier's name. Two tiers do not hear each other.
    pub tier: String,
    /// From one round to the next; more than zero.
    pub interval: Duration,
    /// What protects the datagrams.
    pub seal: Seal,
    /// Whether replicas of the first release are heard too, whose datagrams prove neither sender nor freshness.
    pub accept_version_one: bool,
    /// What this replica says of itself.
    pub card: ReplicaCard,
}

/// What protects datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seal {
    /// Nothing: whoever reaches the socket can read and lie.
    Insecure,
    /// The keys in this file: one or two lines, each 32 bytes in base64. The first seals, all open. Followed as it changes.
    KeyFile(PathBuf),
}

/// Why the gossip lane can't start.
#[derive(Debug, thiserror::Error)]
pub enum GossipError {
    /// The replica's name is too long, or empty.
    #[error("a replica's name has 1 to {max} bytes, and this one has {0}; choose a shorter one", max = murmuration::replication::codec::NAME_BYTES_MAX)]
    Name(usize),
    /// The interval is zero.
    #[error("gossip needs an interval of more than zero; 50ms is usual")]
    Interval,
    /// The card is too large to be sent.
    #[error("the replica's card has {0} bytes, and {max} can be sent; shorten the zone's name", max = super::VALUE_BYTES_MAX)]
    Card(usize),
    /// There is no randomness, without which nothing can be sealed.
    #[error("the system gives no random bytes, and gossip needs some to start; is /dev/urandom there?")]
    Random,
    /// There are no keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The socket can't be used.
    #[error("gossip could not start on its socket: {0}")]
    Socket(String),
}
