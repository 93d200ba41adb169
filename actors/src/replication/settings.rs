//! How a replica takes part in replication.
//!
//! Must not know flags.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use murmuration::id::{Incarnation, PoolId, ReplicaId};

use super::{Keeping, Publisher};
use crate::clock::Clock;
use crate::gossip::Seal;
use crate::peers::PeerTls;

/// Settings of replication.
#[derive(Clone, Debug)]
pub struct ReplicationSettings {
    /// This replica's name, unique in the tier.
    pub me: ReplicaId,
    /// The incarnation to start as, unless peers remember a higher one: then it becomes the next.
    pub incarnation: Incarnation,
    /// Its zone; empty where it has none.
    pub zone: String,
    /// Whether it relays facts of other zones to its own, and receives them so.
    pub relays: bool,
    /// The tier's name: replicas of another tier are ignored.
    pub tier: String,
    /// Where gossip is received.
    pub gossip: SocketAddr,
    /// The address that peers send gossip to.
    pub advertise: SocketAddr,
    /// The address at which peers reach ext-proc.
    pub ext_proc: SocketAddr,
    /// Where peers are looked for: `host:port`, every address of a DNS name.
    pub seeds: Vec<String>,
    /// Time from one round of gossip to the next.
    pub interval: Duration,
    /// How datagrams are sealed.
    pub seal: Seal,
    /// Whether gossip is also exchanged with replicas of the first release: only while a tier is upgraded from it.
    pub accept_gossip_version_one: bool,
    /// Peer streams: where peers reach them, and how they are secured; `None` where facts travel by gossip alone.
    pub streams: Option<(SocketAddr, PeerTls)>,
    /// Whether each endpoint has one keeper; else every replica scrapes all.
    pub one_keeper: bool,
    /// The highest wire version that this replica sends and understands. Below
    /// [`murmuration::replication::codec::VERSION`] it acts as a replica of an earlier release, in a tier that is being
    /// upgraded.
    pub wire_version_max: u8,
}

/// An incarnation that starts now: incarnations are told apart, and ordered, by the time of their start.
pub fn incarnation_now() -> Incarnation {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Incarnation(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The publisher and the keeping, for `pool`, of a replica that takes part as `settings` say; neither without them.
pub fn publisher_and_keeping(
    settings: Option<&ReplicationSettings>,
    pool: &PoolId,
    clock: Clock,
) -> (Option<Publisher>, Option<Keeping>) {
    let Some(settings) = settings else { return (None, None) };
    let publisher = Publisher::of_pool(pool.clone(), settings.me.clone(), settings.incarnation, clock);
    let publisher = publisher.upto(settings.wire_version_max);
    (Some(publisher), settings.one_keeper.then(|| Keeping::new(settings.me.clone())))
}
