//! The replicas of one tier in this process, with what they need to trust each other: a key and certificates, in a
//! folder that is removed with them.
//!
//! Must not know what is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration_actors::environment::{Environment, Listener};
use murmuration_actors::gossip::Seal;
use murmuration_actors::peers::{Authority, PeerNames, PeerTls};
use murmuration_actors::replica::{Addresses, Listeners, Replica, ReplicaSettings};
use murmuration_actors::replication::{ReplicationSettings, incarnation_now};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use murmuration_kit::metrics::sum_of_lines;
use murmuration_kit::pool::default_with_endpoints;
use murmuration_kit::settings;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::args::{Lanes, ReplicationHostArgs};

/// How long a replica may take to be ready, or to see all others.
const PATIENCE: Duration = Duration::from_secs(20);
/// What all replicas of the tier have in common.
#[derive(Debug)]
pub(crate) struct ReplicaHost {
    config: String,
    interval: Duration,
    lanes: Lanes,
    zones: u16,
    gossip: Vec<SocketAddr>,
    folder: PathBuf,
}

/// One replica, and its telemetry.
#[derive(Debug)]
pub(crate) struct HostedReplica {
    pub(crate) replica: Replica,
    telemetry: Telemetry,
}

// === impl ReplicaHost ===

impl ReplicaHost {
    /// Prepares as many replicas as `args` says.
    pub(crate) fn prepare(args: &ReplicationHostArgs) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("murmuration-replication-{}", std::process::id()));
        let cant = |why: std::io::Error| format!("can't write keys into {}: {why}", folder.display());
        let authority = Authority::new().map_err(|why| format!("can't make certificates: {why}"))?;
        (0..args.replicas)
            .try_for_each(|number| authority.write_folder(&folder.join(name(number).0), &name(number)))
            .map_err(cant)?;
        settings::write_gossip_key(&folder.join("gossip.key")).map_err(cant)?;
        let cant = |why| format!("can't bind gossip on loopback: {why}");
        let gossip = settings::gossip_addresses(args.replicas).map_err(cant)?;
        let interval = Duration::from_millis(args.interval);
        let config = default_with_endpoints(&args.endpoints)?;
        Ok(Self { config, interval, lanes: args.lanes, zones: args.zones.max(1), gossip, folder })
    }

    /// How many replicas it hosts.
    pub(super) fn len(&self) -> usize {
        self.gossip.len()
    }

    /// Starts the replica `number` and waits until it is ready. A restart gives its former addresses as `again`.
    pub(crate) async fn start(&self, number: usize, again: Option<Addresses>) -> Result<HostedReplica, Failure> {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let addresses = again.unwrap_or(Addresses { ext_proc: any_port, health: any_port, admin: any_port });
        let bind = |at: SocketAddr| async move {
            TcpListener::bind(at).await.map(Listener::from).map_err(|why| format!("can't listen at {at}: {why}"))
        };
        let peers = if self.lanes == Lanes::Streams { Some(bind(any_port).await?) } else { None };
        let streams = peers.as_ref().map(Listener::address).transpose();
        let streams = streams.map_err(|why| format!("a listener has no address: {why}"))?;
        let listeners = Listeners {
            ext_proc: bind(addresses.ext_proc).await?,
            health: bind(addresses.health).await?,
            admin: bind(addresses.admin).await?,
            peers,
        };
        let telemetry = Telemetry::new("bench", Tracer::default()).map_err(|why| why.to_string())?;
        let settings = ReplicaSettings {
            interval: self.interval,
            replication: self.replication_settings(number, streams),
            ..settings::replica(self.config.as_str())
        };
        let replica = Replica::start(Environment::production(), settings, listeners, telemetry.clone())
            .await
            .map_err(|why| why.to_string())?;
        let ready = async { replica.readiness().wait_for(|readiness| readiness.is_ready()).await.is_ok() };
        match timeout(PATIENCE, ready).await {
            Ok(true) => Ok(HostedReplica { replica, telemetry }),
            _ => Err(format!("replica r{number} was not ready after {PATIENCE:?}")),
        }
    }

    fn replication_settings(&self, number: usize, streams: Option<SocketAddr>) -> Option<ReplicationSettings> {
        if self.lanes == Lanes::None {
            return None;
        }
        let gossip = *self.gossip.get(number)?;
        let own = settings::replication(name(number).0, &format!("bench-{}", std::process::id()), gossip, &self.gossip);
        Some(ReplicationSettings {
            incarnation: Incarnation(incarnation_now().0),
            zone: if self.zones > 1 { format!("zone-{}", number % usize::from(self.zones)) } else { String::new() },
            seal: Seal::KeyFile(self.folder.join("gossip.key")),
            streams: streams
                .map(|at| (at, PeerTls::Mutual { folder: self.folder.join(name(number).0), names: PeerNames::Own })),
            ..own
        })
    }
}

impl Drop for ReplicaHost {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The name of the replica `number`.
pub(super) fn name(number: usize) -> ReplicaId {
    ReplicaId(format!("r{number}"))
}

// === impl HostedReplica ===

impl HostedReplica {
    /// The sum of its metrics whose line begins with `wanted`.
    pub(crate) fn metric(&self, wanted: &str) -> f64 {
        sum_of_lines(&self.telemetry.page(), wanted)
    }

    /// Waits until it sees `others` live peers.
    pub(super) async fn knows(&self, others: usize) -> Result<(), Failure> {
        let known = async {
            while self.metric("murmuration_peers ") < others as f64 {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, known).await.map_err(|_| format!("the replicas did not all meet in {PATIENCE:?}"))
    }
}
