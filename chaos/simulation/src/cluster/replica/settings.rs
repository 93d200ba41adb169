//! The settings that a replica of the cluster starts with: the defaults of `murmuration serve`.
//!
//! Must not know earlier starts of the replica.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration::config;
use murmuration::id::Incarnation;
use murmuration::replication::codec;
use murmuration::scheduler::recent::RECENT_MAX;
use murmuration_actors::ext_proc::{self, Limits};
use murmuration_actors::peers::PeerTls;
use murmuration_actors::replica::ReplicaSettings;
use murmuration_actors::replication::ReplicationSettings;
use murmuration_kit::settings;

use crate::cluster::net::Places;
use crate::plan::{ClusterSpec, ResponsePath};

/// The port of ext-proc.
pub(in crate::cluster) const EXT_PROC: u16 = 9002;
pub(super) const HEALTH: u16 = 9003;
pub(super) const PEERS: u16 = 9004;
pub(super) const ADMIN: u16 = 9090;
const GOSSIP: u16 = 7946;

/// The drain timeout; short, because plans are short.
const DRAIN: Duration = Duration::from_secs(2);

/// Where engines prefill for others. A hand-over is cheap and running answers are dear, so that there are many pairs.
const PAIRS: &str = "
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: pair-profile-handler
  parameters: { handOffMs: 5, answerWeight: 1 }
- type: decode-filter
- type: prefill-filter
schedulingProfiles:
- name: decode
  plugins:
  - pluginRef: decode-filter
- name: prefill
  plugins:
  - pluginRef: prefill-filter
";

/// The configuration of all replicas.
pub(in crate::cluster) fn config_text(cluster: &ClusterSpec) -> &'static str {
    if cluster.prefillers > 0 { PAIRS } else { config::default_text() }
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
    let others: Vec<SocketAddr> =
        (0..cluster.replicas).filter(|other| *other != number).map(|other| at(other, GOSSIP)).collect();
    let own = settings::replication(format!("replica-{number}"), "sim", at(number, GOSSIP), &others);
    let replication = ReplicationSettings {
        incarnation,
        zone: format!("zone-{}", cluster.zone_of_replica(number)),
        ext_proc: at(number, EXT_PROC),
        streams: cluster.peer_streams.then(|| (at(number, PEERS), PeerTls::Plain)),
        wire_version_max: wire(wire_version).1.min(codec::VERSION),
        ..own
    };
    // A thread of its own would read a long body in real time, and events would follow the machine's load.
    let limits = Limits { read_inline_bytes: usize::MAX, ..Limits::default() };
    ReplicaSettings {
        limits,
        gauges_interval: Duration::from_secs(1),
        response_path: match cluster.response_path {
            ResponsePath::Stay => ext_proc::ResponsePath::Stay,
            ResponsePath::Leave => ext_proc::ResponsePath::Leave,
        },
        index_bytes_max: 64 << 20,
        recent_max: RECENT_MAX,
        drain_timeout: DRAIN,
        replication: Some(replication),
        ..settings::replica(config_text(cluster))
    }
}

/// The lowest and highest wire version that a replica of `version` declares; a later release reads older versions too.
pub(super) fn wire(version: u16) -> (u8, u8) {
    let highest = u8::try_from(version).unwrap_or(u8::MAX);
    (highest.min(codec::VERSION_MIN), highest)
}
