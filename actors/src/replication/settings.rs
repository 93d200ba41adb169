//! How a replica takes part in the replication.
//!
//! Must not know flags.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use murmuration::id::{Incarnation, ReplicaId};

use super::{Keeping, Publisher};
use crate::clock::Clock;
use crate::gossip::Seal;
use crate::peers::PeerTls;

/// Everything about it.
#[derive(Clone, Debug)]
pub struct ReplicationSettings {
    /// This replica's name, its own in the tier.
    pub me: ReplicaId,
    /// Which incarnation this is, unless peers remember a higher one: then it becomes the next.
    pub incarnation: Incarnation,
    /// Its zone; empty where it has none.
    pub zone: String,
    /// The tier's name: replicas of another one are not listened to.
    pub tier: String,
    /// Where gossip is received.
    pub gossip: SocketAddr,
    /// Where peers send gossip to.
    pub advertise: SocketAddr,
    /// Where ext-proc is served, as others reach it.
    pub ext_proc: SocketAddr,
    /// Where others are looked for: `host:port`, a DNS name's every address.
    pub seeds: Vec<String>,
    /// From one round of gossip to the next.
    pub interval: Duration,
    /// How datagrams are sealed.
    pub seal: Seal,
    /// Whether replicas of the first release are heard and told by gossip too: only while a tier is upgraded from it.
    pub accept_gossip_version_one: bool,
    /// Peer streams: where others reach them, and how they are secured; `None` where facts go by gossip alone.
    pub streams: Option<(SocketAddr, PeerTls)>,
    /// Whether each endpoint has one keeper; else every replica scrapes all.
    pub one_keeper: bool,
    /// The highest wire version that this replica speaks and understands; below [`murmuration::replication::codec::VERSION`] it is as a replica of an
    /// earlier release, in a tier that is being upgraded.
    pub wire_version_max: u8,
}

/// The life that begins now: lives are told apart, and ordered, by when they began.
pub fn incarnation_now() -> Incarnation {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Incarnation(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// What the scheduler of such a replica speaks with, and watches by; neither for one that is alone.
pub fn publisher_and_keeping(
    settings: Option<&ReplicationSettings>,
    clock: Clock,
) -> (Option<Publisher>, Option<Keeping>) {
    let Some(settings) = settings else { return (None, None) };
    let publisher = Publisher::new(settings.me.clone(), settings.incarnation, clock).upto(settings.wire_version_max);
    (Some(publisher), settings.one_keeper.then(|| Keeping::new(settings.me.clone())))
}
