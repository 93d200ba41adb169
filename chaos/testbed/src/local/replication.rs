//! What the testbed's replicas need to replicate: each other's addresses, a key for gossip, certificates for streams.
//!
//! Must not know processes. Keys and certificates are made for one testbed and removed with its folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::process::Command;

use murmuration::id::ReplicaId;
use murmuration_actors::peers::Authority;
use murmuration_kit::settings::write_gossip_key;

use super::TestbedError;
use super::args::Sharing;

/// How the replicas of a testbed find and trust each other.
#[derive(Clone, Debug)]
pub(super) struct ReplicationPlan {
    streams: bool,
    seeds: Vec<SocketAddr>,
    key_file: PathBuf,
    certificates: PathBuf,
    authority: Arc<Authority>,
}

// === impl ReplicationPlan ===

impl ReplicationPlan {
    /// The plan of replicas that gossip at `seeds`; `None` for a single replica, or where nothing is shared.
    ///
    /// # Errors
    /// [`TestbedError::File`] when its files can't be written.
    pub(super) fn make(sharing: Sharing, seeds: Vec<SocketAddr>, run: &Path) -> Result<Option<Self>, TestbedError> {
        if sharing == Sharing::None || seeds.len() < 2 {
            return Ok(None);
        }
        let (key_file, certificates) = (run.join("gossip.key"), run.join("certificates"));
        write_gossip_key(&key_file).map_err(TestbedError::file(format!("write {}", key_file.display())))?;
        let authority = Arc::new(
            Authority::new()
                .map_err(std::io::Error::other)
                .map_err(TestbedError::file(format!("write {}", certificates.display())))?,
        );
        Ok(Some(Self { streams: sharing == Sharing::Streams, seeds, key_file, certificates, authority }))
    }

    /// The certificate of the authority that signs the replicas' certificates, in PEM.
    pub(super) fn authority(&self) -> String {
        self.authority.certificate().to_owned()
    }

    /// Whether replicas follow each other by streams.
    pub(super) fn has_streams(&self) -> bool {
        self.streams
    }

    /// Adds the flags of the replica called `name`, and writes its certificate.
    pub(super) fn add_flags(&self, command: &mut Command, name: &str, gossip: SocketAddr, peers: SocketAddr) {
        let certificates = self.certificates.join(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        if let Err(why) = self.authority.write_folder(&certificates, &ReplicaId(name.to_owned())) {
            // The replica itself reports which file is missing.
            eprintln!("can't write {}: {why}", certificates.display());
        }
        for seed in &self.seeds {
            command.args(["--peer", &seed.to_string()]);
        }
        command.args(["--replica-name", name, "--gossip-port", &gossip.port().to_string()]);
        command.arg("--gossip-key-file").arg(&self.key_file);
        match self.streams {
            true => {
                command.args(["--peer-port", &peers.port().to_string()]);
                command.arg("--peer-cert-path").arg(&certificates);
            }
            false => {
                command.arg("--peer-streams=false");
            }
        }
        // ext-proc uses the same certificate, so that a client that calls a replica directly can verify it.
        command.arg("--cert-path").arg(&certificates);
    }
}
