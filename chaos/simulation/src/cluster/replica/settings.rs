//! The settings that a replica of the cluster starts with: the defaults of `murmuration serve`.
//!
//! Must not know earlier starts of the replica.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::config;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::plugin::Catalog;
use murmuration::replication::codec;
use murmuration_actors::ext_proc::{self, Limits, TrustedSpelling};
use murmuration_actors::gossip::Seal;
use murmuration_actors::peers::PeerTls;
use murmuration_actors::replica::{PromptSalt, ReplicaSettings, Tls};
use murmuration_actors::replication::ReplicationSettings;

use crate::cluster::net::Places;
use crate::plan::{ClusterSpec, ResponsePath};

/// The port of ext-proc.
pub(in crate::cluster) const EXT_PROC: u16 = 9002;
pub(super) const HEALTH: u16 = 9003;
pub(super) const PEERS: u16 = 9004;
pub(super) const ADMIN: u16 = 9090;
const GOSSIP: u16 = 7946;

/// The interval of gossip rounds and of scrapes: the defaults.
const ROUND: Duration = Duration::from_millis(50);
/// The drain timeout; short, because plans are short.
const DRAIN: Duration = Duration::from_secs(2);

/// The configuration of all replicas.
pub(in crate::cluster) fn config_text() -> &'static str {
    config::default_text()
}

/// The settings of replica `number`. Its highest wire version is `wire_version`, or this release's if that is lower.
pub(super) fn settings(
    number: usize,
    incarnation: Incarnation,
    wire_version: u16,
    cluster: &ClusterSpec,
    places: &Places,
) -> ReplicaSettings {
    let at = |replica: usize, port| SocketAddr::new(places.ip(places.replica(replica)), port);
    let others = (0..cluster.replicas).filter(|other| *other != number);
    let replication = ReplicationSettings {
        me: ReplicaId(format!("replica-{number}")),
        incarnation,
        zone: format!("zone-{}", cluster.zone_of_replica(number)),
        tier: "sim".to_owned(),
        gossip: at(number, GOSSIP),
        advertise: at(number, GOSSIP),
        ext_proc: at(number, EXT_PROC),
        seeds: others.map(|other| at(other, GOSSIP).to_string()).collect(),
        interval: ROUND,
        seal: Seal::Insecure,
        accept_gossip_version_one: false,
        streams: cluster.peer_streams.then(|| (at(number, PEERS), PeerTls::Plain)),
        one_keeper: true,
        wire_version_max: wire(wire_version).1.min(codec::VERSION),
    };
    ReplicaSettings {
        config_text: config_text().to_owned(),
        config_name: "the default configuration".to_owned(),
        catalog: Catalog::builtin,
        interval: ROUND,
        gauges_interval: Duration::from_secs(1),
        limits: Limits::default(),
        trusted: TrustedSpelling::default(),
        response_path: match cluster.response_path {
            ResponsePath::Stay => ext_proc::ResponsePath::Stay,
            ResponsePath::Leave => ext_proc::ResponsePath::Leave,
        },
        index_bytes_max: 64 << 20,
        lease: Duration::from_secs(3600),
        tls: Tls::Plain,
        debug: murmuration_actors::admin::DebugAccess::default(),
        drain_timeout: DRAIN,
        salt: PromptSalt::Given(0),
        tenant_header: None,
        replication: Some(replication),
    }
}

/// The lowest and highest wire version that a replica of `version` declares; a later release reads older versions too.
pub(super) fn wire(version: u16) -> (u8, u8) {
    let highest = u8::try_from(version).unwrap_or(u8::MAX);
    (highest.min(codec::VERSION_MIN), highest)
}
