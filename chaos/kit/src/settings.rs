//! The settings of replicas that start inside another program: the defaults of `murmuration serve`, on loopback.
//!
//! Must not know what is tested or measured; callers change what matters to them.

use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::plugin::Catalog;
use murmuration::replication::codec;
use murmuration::scheduler::recent::RECENT_MAX;
use murmuration_actors::admin::DebugAccess;
use murmuration_actors::ext_proc::{Limits, ResponsePath, TrustedSpelling};
use murmuration_actors::gossip::Seal;
use murmuration_actors::replica::{PromptSalt, ReplicaSettings, Tls};
use murmuration_actors::replication::ReplicationSettings;

/// The interval of gossip rounds and of scrapes: the default.
pub const ROUND: Duration = Duration::from_millis(50);

/// Settings of a replica with this configuration: without TLS, peers or a lease that ends, and with a salt of 0.
pub fn replica(config_text: impl Into<String>) -> ReplicaSettings {
    ReplicaSettings {
        config_text: config_text.into(),
        config_name: "the configuration".to_owned(),
        catalog: Catalog::builtin,
        interval: ROUND,
        gauges_interval: Duration::from_secs(5),
        limits: Limits::default(),
        trusted: TrustedSpelling::default(),
        response_path: ResponsePath::Stay,
        index_bytes_max: 256 << 20,
        recent_max: RECENT_MAX,
        lease: Duration::from_secs(3600),
        tls: Tls::Plain,
        debug: DebugAccess::default(),
        drain_timeout: Duration::from_secs(1),
        salt: PromptSalt::Given(0),
        tenant_header: None,
        kubernetes: None,
        metrics_auth: false,
        replication: None,
    }
}

/// Settings of the replica `me` of `tier`, which gossips at `gossip` and finds others at `seeds`: in the clear, without
/// peer streams, in its first incarnation.
pub fn replication(me: String, tier: &str, gossip: SocketAddr, seeds: &[SocketAddr]) -> ReplicationSettings {
    ReplicationSettings {
        me: ReplicaId(me),
        incarnation: Incarnation(1),
        zone: String::new(),
        relays: true,
        tier: tier.to_owned(),
        gossip,
        advertise: gossip,
        ext_proc: gossip,
        seeds: seeds.iter().map(SocketAddr::to_string).collect(),
        interval: ROUND,
        seal: Seal::Insecure,
        accept_gossip_version_one: false,
        streams: None,
        one_keeper: true,
        wire_version_max: codec::VERSION,
    }
}

/// Free UDP addresses on loopback. All are bound at the same time, so they differ; replicas bind them again later.
///
/// # Errors
/// When they can't be bound.
pub fn gossip_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let sockets: Vec<UdpSocket> = (0..count).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    sockets.iter().map(UdpSocket::local_addr).collect()
}

/// Writes a new gossip key.
///
/// # Errors
/// When it can't be drawn or written.
pub fn write_gossip_key(path: &Path) -> std::io::Result<()> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    std::fs::write(path, format!("{}\n", STANDARD.encode(key)))
}
