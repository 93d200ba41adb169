//! Real replicas in this process.
//!
//! Must not know what is measured.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::plugin::Catalog;
use murmuration_actors::ext_proc::{Limits, ResponsePath};
use murmuration_actors::flock::FlockSettings;
use murmuration_actors::gossip::Seal;
use murmuration_actors::peers::{Authority, PeerTls};
use murmuration_actors::replica::{Listeners, Replica, ReplicaSettings, Tls};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};

use super::super::Failure;
use crate::town::pool_config;

/// How long a tier may take to meet.
const PATIENCE: Duration = Duration::from_secs(30);

/// How facts are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// By both lanes.
    Streams,
    /// By gossip alone.
    Gossip,
}

/// The tier.
pub(super) struct Tier {
    /// The replicas.
    pub(super) replicas: Vec<Replica>,
    telemetry: Vec<Telemetry>,
    folder: PathBuf,
}

// === impl Sharing ===

impl Sharing {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Gossip => "gossip",
        }
    }
}

// === impl Tier ===

impl Tier {
    /// Starts a tier and waits until all are ready and have met.
    pub(super) async fn start(
        replicas: usize,
        engines: &[SocketAddr],
        sharing: Option<Sharing>,
        interval: Duration,
    ) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("murmuration-bench-{}", std::process::id()));
        let told = |why: std::io::Error| format!("can't prepare {}: {why}", folder.display());
        std::fs::create_dir_all(&folder).map_err(told)?;
        Authority::new().map_err(std::io::Error::other).and_then(|ca| ca.write_folder(&folder)).map_err(told)?;
        std::fs::write(folder.join("key"), STANDARD.encode([7; 32])).map_err(told)?;
        let names: Vec<String> = (0..engines.len()).map(|n| format!("engine-{n:03}")).collect();
        let listed = names.iter().zip(engines).map(|(name, at)| (name.as_str(), at.ip().to_string(), at.port()));
        let endpoints = folder.join("endpoints.json");
        std::fs::write(&endpoints, pool_config::endpoints_file(listed)).map_err(told)?;
        let config_text = pool_config::with_endpoints(None, "bench", &endpoints).map_err(|why| why.to_string())?;

        // All are bound at once, so that all differ; replicas bind them again a moment later.
        let sockets: Vec<UdpSocket> = (0..replicas).filter_map(|_| UdpSocket::bind("127.0.0.1:0").ok()).collect();
        let gossip: Vec<SocketAddr> = sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect();
        drop(sockets);
        let mut tier = Self { replicas: Vec::new(), telemetry: Vec::new(), folder };
        for number in 0..replicas {
            let sharing = sharing.filter(|_| replicas > 1);
            tier.add(number, sharing, &gossip, &config_text, interval).await?;
        }
        tier.meet(sharing.is_some()).await?;
        Ok(tier)
    }

    async fn add(
        &mut self,
        number: usize,
        sharing: Option<Sharing>,
        gossip: &[SocketAddr],
        config_text: &str,
        interval: Duration,
    ) -> Result<(), Failure> {
        let bind = async || TcpListener::bind("127.0.0.1:0").await.map_err(|why| format!("can't listen: {why}"));
        let peers = bind().await?;
        let at = peers.local_addr().map_err(|why| why.to_string())?;
        let flock = sharing.map(|sharing| FlockSettings {
            me: ReplicaId(format!("r{number}")),
            incarnation: Incarnation(1),
            zone: String::new(),
            tier: "bench".to_owned(),
            tier_salt: 0,
            gossip: gossip[number],
            advertise: gossip[number],
            ext_proc: at,
            seeds: gossip.iter().map(SocketAddr::to_string).collect(),
            interval: Duration::from_millis(50),
            seal: Seal::KeyFile(self.folder.join("key")),
            streams: (sharing == Sharing::Streams).then(|| (at, PeerTls::Mutual { folder: self.folder.clone() })),
            one_keeper: true,
        });
        let settings = ReplicaSettings {
            config_text: config_text.to_owned(),
            config_name: "bench".to_owned(),
            catalog: Catalog::builtin,
            interval,
            gauges_interval: Duration::from_secs(3600),
            limits: Limits::default(),
            response_path: ResponsePath::Stay,
            index_bytes_max: 64 << 20,
            lease: Duration::from_secs(3600),
            tls: Tls::Plain,
            drain_timeout: Duration::from_secs(1),
            flock,
        };
        let telemetry = Telemetry::new("bench", Tracer::default()).map_err(|why| why.to_string())?;
        let (ext_proc, health, admin) = (bind().await?, bind().await?, bind().await?);
        let listeners = Listeners { ext_proc, health, admin, peers: Some(peers) };
        let replica = Replica::start(settings, listeners, telemetry.clone()).await.map_err(|why| why.to_string())?;
        self.replicas.push(replica);
        self.telemetry.push(telemetry);
        Ok(())
    }

    async fn meet(&self, shared: bool) -> Result<(), Failure> {
        let all = async {
            for (replica, telemetry) in self.replicas.iter().zip(&self.telemetry) {
                let ready = replica.readiness().wait_for(|readiness| readiness.is_ready()).await.is_ok();
                while ready && shared && (figure(telemetry, "murmuration_peers ") as usize) + 1 < self.replicas.len() {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        };
        timeout(PATIENCE, all).await.map_err(|_| format!("the replicas did not meet within {PATIENCE:?}"))
    }

    /// Bytes that all replicas sent by stream, and by gossip.
    pub(super) fn sent(&self) -> (f64, f64) {
        let sum = |lane: &str| {
            let line = format!("murmuration_peer_bytes_total{{direction=\"sent\",lane=\"{lane}\"}}");
            self.telemetry.iter().map(|telemetry| figure(telemetry, &line)).sum()
        };
        (sum("stream"), sum("gossip"))
    }

    /// Kills the last replica, and waits until nobody counts its work any more.
    pub(super) async fn kill_one(&mut self) -> Duration {
        let lost = |tier: &Self| {
            tier.telemetry[..tier.replicas.len()].iter().all(|t| figure(t, "murmuration_peers_lost_total") > 0.0)
        };
        drop(self.replicas.pop());
        let died = Instant::now();
        while !lost(self) && died.elapsed() < PATIENCE {
            sleep(Duration::from_millis(5)).await;
        }
        died.elapsed()
    }
}

impl Drop for Tier {
    fn drop(&mut self) {
        // What can't be removed is in a folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The sum of the metrics whose line begins like this.
fn figure(telemetry: &Telemetry, wanted: &str) -> f64 {
    let page = telemetry.page();
    let values = page.lines().filter(|line| line.starts_with(wanted)).filter_map(|line| line.rsplit(' ').next());
    values.filter_map(|value| value.parse::<f64>().ok()).sum()
}
