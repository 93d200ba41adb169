//! Flags of a replica that has peers.
//!
//! Must not know what a flag does.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::duration;

/// Who scrapes an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keepers {
    /// One replica for each endpoint; it tells the others.
    One,
    /// Every replica.
    All,
}

/// Flags of a replica that has peers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "The other replicas")]
pub struct ReplicationArgs {
    /// Where other replicas are found: HOST:PORT of their gossip; a DNS name stands for all of its addresses. May be
    /// repeated. Without it the replica is alone and shares nothing.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,
    /// This replica's name, its own in the tier; the host's name and the gossip port where it is not given.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub replica_name: Option<String>,
    /// This replica's zone; it keeps endpoints of its own zone first.
    #[arg(long, env = "ZONE", default_value = "", value_name = "ZONE")]
    pub zone: String,
    /// The address that others reach this replica by; the bound one where it is not given.
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// UDP port of gossip.
    #[arg(long, default_value_t = 9004, value_name = "PORT")]
    pub gossip_port: u16,
    /// From one round of gossip to the next.
    #[arg(long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub gossip_interval: Duration,
    /// A file with the tier's key, 32 bytes in base64; a second line may hold the key before it, which is still
    /// accepted. Read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub gossip_key_file: Option<PathBuf>,
    /// Hear and tell replicas of release 0.1 by gossip too, whose datagrams can be replayed. Only while a tier is upgraded
    /// from it; see docs/security.md.
    #[arg(long)]
    pub gossip_accept_v1: bool,
    /// A file with a secret, the same on every replica, that gives the key under which prompts are hashed. Without it the
    /// replicas agree on a random one by gossip. Used by a replica without peers too.
    #[arg(long, value_name = "FILE")]
    pub prompt_salt_file: Option<PathBuf>,
    /// A request header whose value is mixed into that key, so that tenants share no hashes. The gateway must set it from
    /// who the client is, and remove what the client sent.
    #[arg(long, value_name = "HEADER")]
    pub prompt_salt_tenant_header: Option<String>,
    /// Gossip in the clear: anybody who reaches the port can speak for a replica.
    #[arg(long, conflicts_with = "gossip_key_file")]
    pub insecure_gossip: bool,
    /// Port of peer streams.
    #[arg(long, default_value_t = 9005, value_name = "PORT")]
    pub peer_port: u16,
    /// Whether facts go by peer streams too; without them all goes by gossip, and is older.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub peer_streams: bool,
    /// A folder with ca.crt, tls.crt and tls.key for peer streams. Both sides show a certificate that names
    /// `murmuration-peer` and the replica; see docs/security.md.
    #[arg(long, value_name = "DIR")]
    pub peer_cert_path: Option<PathBuf>,
    /// Accept peer certificates that do not name a replica, such as one Secret that all pods mount. Whoever holds one can
    /// then claim the name of every member.
    #[arg(long, requires = "peer_cert_path")]
    pub allow_shared_peer_certificate: bool,
    /// Peer streams in the clear.
    #[arg(long, conflicts_with = "peer_cert_path")]
    pub insecure_peer_streams: bool,
    /// Who scrapes an endpoint.
    #[arg(long, value_enum, default_value_t = Keepers::One)]
    pub keepers: Keepers,
}
