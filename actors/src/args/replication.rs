//! Flags of a replica that has peers.
//!
//! Must not know what a flag does.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use murmuration::config::duration::read as duration;

/// Which replicas scrape an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keepers {
    /// One replica per endpoint; it shares the reports with its peers.
    One,
    /// Every replica.
    All,
}

/// Flags of a replica that has peers.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Replication")]
pub struct ReplicationArgs {
    /// HOST:PORT of another replica's gossip. A DNS name stands for all of its addresses. May be repeated. Without it,
    /// and without --peer-selector, the replica has no peers and shares nothing.
    #[arg(long = "peer", value_name = "HOST:PORT")]
    pub peers: Vec<String>,
    /// This replica's name, unique in the tier. Defaults to the host name and the gossip port.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub replica_name: Option<String>,
    /// This replica's zone. A replica scrapes endpoints of its own zone first, and one of a zone's replicas receives what
    /// a replica of another zone publishes, for all of them.
    #[arg(long, env = "ZONE", default_value = "", value_name = "ZONE")]
    pub zone: String,
    /// Whether this replica relays facts of other zones to those of its own, and receives them so. Without relays, it
    /// follows each replica itself, and trusts no other with its facts.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub zone_relays: bool,
    /// IP address at which peers reach this replica. Defaults to the bound address.
    #[arg(long, env = "POD_IP", value_name = "IP")]
    pub advertise: Option<IpAddr>,
    /// UDP port of gossip.
    #[arg(long, default_value_t = 9004, value_name = "PORT")]
    pub gossip_port: u16,
    /// Interval between two rounds of gossip.
    #[arg(long, default_value = "50ms", value_parser = duration, value_name = "DURATION")]
    pub gossip_interval: Duration,
    /// A file with the tier's key, 32 bytes in base64. A second line may hold the previous key, which is still
    /// accepted. The file is read again when it changes.
    #[arg(long, value_name = "FILE")]
    pub gossip_key_file: Option<PathBuf>,
    /// Exchange gossip with replicas of release 0.1 too, whose datagrams can be replayed. Only for the upgrade of a
    /// tier from that release; see docs/security.md.
    #[arg(long)]
    pub gossip_accept_v1: bool,
    /// A file with a secret, the same on every replica. The key under which prompts are hashed is derived from it.
    /// Without it the replicas agree on a random key by gossip. A replica without peers uses the file too.
    #[arg(long, value_name = "FILE")]
    pub prompt_salt_file: Option<PathBuf>,
    /// A request header whose value is mixed into the key of prompt hashes, so that tenants share no hashes. The
    /// gateway must set it from the client's identity, and remove the value that the client sent.
    #[arg(long, value_name = "HEADER")]
    pub prompt_salt_tenant_header: Option<String>,
    /// Gossip without encryption: anybody who reaches the port can impersonate a replica.
    #[arg(long, conflicts_with = "gossip_key_file")]
    pub insecure_gossip: bool,
    /// Port of peer streams.
    #[arg(long, default_value_t = 9005, value_name = "PORT")]
    pub peer_port: u16,
    /// Whether facts travel by peer streams too. Without streams they travel by gossip only, and arrive later.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "BOOL")]
    pub peer_streams: bool,
    /// A directory with ca.crt, tls.crt and tls.key for peer streams. Both sides present a certificate that names
    /// `murmuration-peer` and the replica; see docs/security.md.
    #[arg(long, value_name = "DIR")]
    pub peer_cert_path: Option<PathBuf>,
    /// Accept peer certificates that do not name a replica, such as one Secret that all pods mount. A holder of such a
    /// certificate can then claim the name of every member.
    #[arg(long, requires = "peer_cert_path")]
    pub allow_shared_peer_certificate: bool,
    /// Peer streams without TLS.
    #[arg(long, conflicts_with = "peer_cert_path")]
    pub insecure_peer_streams: bool,
    /// Which replicas scrape an endpoint.
    #[arg(long, value_enum, default_value_t = Keepers::One, value_name = "WHICH")]
    pub keepers: Keepers,
}
