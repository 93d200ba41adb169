//! What a replica of the town is started with: what `murmuration serve` does by default.
//!
//! Must not know lives.

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

use crate::plan::{ResponsePath, Town};
use crate::sim::net::Places;

/// The port of ext-proc.
pub(in crate::sim) const EXT_PROC: u16 = 9002;
pub(super) const HEALTH: u16 = 9003;
pub(super) const PEERS: u16 = 9004;
pub(super) const ADMIN: u16 = 9090;
const GOSSIP: u16 = 7946;

/// From one round of gossip, and from one scrape, to the next: the defaults.
const ROUND: Duration = Duration::from_millis(50);
/// How long leaving may take; short, for a plan is short.
const DRAIN: Duration = Duration::from_secs(2);

/// The configuration of all replicas.
pub(in crate::sim) fn config_text() -> &'static str {
    config::default_text()
}

/// The settings of replica `number` in a life in which it speaks `wire_version`, as far as this release can.
pub(super) fn settings(
    number: usize,
    incarnation: Incarnation,
    wire_version: u16,
    town: &Town,
    places: &Places,
) -> ReplicaSettings {
    let at = |replica: usize, port| SocketAddr::new(places.ip(places.replica(replica)), port);
    let others = (0..town.replicas).filter(|other| *other != number);
    let replication = ReplicationSettings {
        me: ReplicaId(format!("replica-{number}")),
        incarnation,
        zone: format!("zone-{}", town.zone_of_replica(number)),
        tier: "sim".to_owned(),
        gossip: at(number, GOSSIP),
        advertise: at(number, GOSSIP),
        ext_proc: at(number, EXT_PROC),
        seeds: others.map(|other| at(other, GOSSIP).to_string()).collect(),
        interval: ROUND,
        seal: Seal::Insecure,
        accept_gossip_version_one: false,
        streams: town.peer_streams.then(|| (at(number, PEERS), PeerTls::Plain)),
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
        response_path: match town.response_path {
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

/// The wire versions that a replica which speaks `version` says it reads; a later release reads older words too.
pub(super) fn wire(version: u16) -> (u8, u8) {
    let highest = u8::try_from(version).unwrap_or(u8::MAX);
    (highest.min(codec::VERSION_MIN), highest)
}
