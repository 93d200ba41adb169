//! The flags of the flock, made into settings; what has to be said and was not is an error.
//!
//! Must not know what the flock does with them.

use std::net::{IpAddr, SocketAddr};

use murmuration::id::ReplicaId;
use murmuration::share::codec;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::args::{FlockArgs, Keepers, ServeArgs};
use crate::flock::{FlockSettings, incarnation_now};
use crate::gossip::Seal;
use crate::peers::PeerTls;

/// The settings of a replica that serves ext-proc and peer streams on these sockets; `None` for one without peers.
///
/// # Errors
/// One sentence with the cure.
pub(super) fn settings(
    args: &ServeArgs,
    ext_proc: SocketAddr,
    streams: Option<SocketAddr>,
) -> Result<Option<FlockSettings>, String> {
    let flock = &args.flock;
    if flock.peers.is_empty() {
        return Ok(None);
    }
    let reached = reached(args)?;
    let streams = match streams {
        Some(at) => Some((SocketAddr::new(reached, at.port()), peer_tls(flock)?)),
        None => None,
    };
    Ok(Some(FlockSettings {
        me: ReplicaId(name(flock)),
        incarnation: incarnation_now(),
        zone: flock.zone.clone(),
        tier: args.pool_name.clone(),
        tier_salt: tier_salt(args)?,
        gossip: SocketAddr::new(args.bind, flock.gossip_port),
        advertise: SocketAddr::new(reached, flock.gossip_port),
        ext_proc: SocketAddr::new(reached, ext_proc.port()),
        seeds: flock.peers.clone(),
        interval: flock.gossip_interval,
        seal: seal(flock)?,
        accept_gossip_version_one: flock.gossip_accept_v1,
        streams,
        one_keeper: flock.keepers == Keepers::One,
        wire_version_max: codec::VERSION,
    }))
}

/// What the tier mixes into the hashes of prompts.
fn tier_salt(args: &ServeArgs) -> Result<u64, String> {
    let Some(path) = &args.flock.prompt_salt_file else { return Ok(xxh3_64(args.pool_name.as_bytes())) };
    let secret = std::fs::read(path).map_err(|why| format!("--prompt-salt-file {}: {why}", path.display()))?;
    match secret.trim_ascii() {
        [] => Err(format!(
            "--prompt-salt-file {}: it is empty; head -c 32 /dev/urandom | base64 makes one",
            path.display()
        )),
        secret => Ok(xxh3_64_with_seed(args.pool_name.as_bytes(), xxh3_64(secret))),
    }
}

/// The address that others reach this replica by.
fn reached(args: &ServeArgs) -> Result<IpAddr, String> {
    let bound = Some(args.bind).filter(|bound| !bound.is_unspecified());
    let said = args.flock.advertise.or(bound);
    said.ok_or_else(|| {
        "--peer is given, and nothing says where others reach this replica; add --advertise IP (in \
        Kubernetes the pod's, as POD_IP)"
            .to_owned()
    })
}

fn seal(flock: &FlockArgs) -> Result<Seal, String> {
    match &flock.gossip_key_file {
        Some(path) => Ok(Seal::KeyFile(path.clone())),
        None if flock.insecure_gossip => Ok(Seal::Insecure),
        None => Err("--peer is given without a key for gossip; add --gossip-key-file FILE (head -c 32 /dev/urandom | \
            base64 makes one), or say --insecure-gossip"
            .to_owned()),
    }
}

fn peer_tls(flock: &FlockArgs) -> Result<PeerTls, String> {
    match &flock.peer_cert_path {
        Some(folder) => {
            let tls = PeerTls::Mutual { folder: folder.clone() };
            tls.check().map_err(|why| format!("--peer-cert-path: {why}"))?;
            Ok(tls)
        }
        None if flock.insecure_peer_streams => Ok(PeerTls::Plain),
        None => Err("--peer is given without certificates for peer streams; add --peer-cert-path DIR, say \
            --insecure-peer-streams, or go without them: --peer-streams=false"
            .to_owned()),
    }
}

/// The replica's name: as it is said, or the host's with the port that tells replicas of one host apart.
fn name(flock: &FlockArgs) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "replica".to_owned());
    flock.replica_name.clone().unwrap_or_else(|| format!("{}:{}", host().trim(), flock.gossip_port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, Verb};

    fn of(flags: &str) -> Result<Option<FlockSettings>, String> {
        let flags = format!("murmuration serve {flags}");
        let Verb::Serve(args) = Command::try_parse_from(flags.split_whitespace()).unwrap().verb else { unreachable!() };
        let streams = args.flock.peer_streams.then(|| "127.0.0.1:9005".parse().unwrap());
        settings(&args, "127.0.0.1:9002".parse().unwrap(), streams)
    }

    #[test]
    fn without_a_peer_there_is_no_flock() {
        assert!(of("").unwrap().is_none());
    }

    #[test]
    fn going_in_the_clear_has_to_be_said() {
        let cures = [
            ("--peer a:1", "--advertise"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-peer-streams", "--insecure-gossip"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-gossip", "--insecure-peer-streams"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-gossip --peer-cert-path /nowhere", "ca.crt"),
        ];
        for (flags, cure) in cures {
            assert!(of(flags).unwrap_err().contains(cure), "{flags}");
        }
        let said =
            of("--peer a:1 --peer b:2 --bind 127.0.0.1 --insecure-gossip --insecure-peer-streams --replica-name me");
        let said = said.unwrap().unwrap();
        assert_eq!((said.me.0.as_str(), said.seeds.len(), said.one_keeper), ("me", 2, true));
        assert_eq!(said.streams.unwrap(), ("127.0.0.1:9005".parse().unwrap(), PeerTls::Plain));
    }

    #[test]
    fn the_salt_is_the_pools_own() {
        let salt = |pool: &str| {
            let clear = "--peer a:1 --bind 127.0.0.1 --insecure-gossip --insecure-peer-streams";
            of(&format!("{clear} --pool-name {pool}")).unwrap().unwrap().tier_salt
        };
        assert_eq!(salt("a"), salt("a"));
        assert_ne!(salt("a"), salt("b"));
    }

    #[test]
    fn without_streams_no_certificates_are_asked_for() {
        let flags = "--peer a:1 --bind 127.0.0.1 --insecure-gossip --peer-streams=false --keepers all";
        let said = of(flags).unwrap().unwrap();
        assert_eq!((said.streams, said.one_keeper), (None, false));
    }
}
