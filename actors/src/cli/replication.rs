//! Turns the replication flags into settings. A required flag that is missing is an error.
//!
//! Must not know what replication does with them.

use std::net::{IpAddr, SocketAddr};

use murmuration::id::ReplicaId;
use murmuration::replication::codec;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use super::kubernetes;
use crate::args::{Keepers, ReplicationArgs, ServeArgs};
use crate::gossip::Seal;
use crate::peers::{PeerNames, PeerTls};
use crate::replica::PromptSalt;
use crate::replication::{ReplicationSettings, incarnation_now};

/// The settings of a replica that serves ext-proc and peer streams on these sockets; `None` for one without peers.
///
/// # Errors
/// One sentence with the fix.
pub(super) fn settings(
    args: &ServeArgs,
    ext_proc: SocketAddr,
    streams: Option<SocketAddr>,
) -> Result<Option<ReplicationSettings>, String> {
    let replication = &args.replication;
    if !has_peers(args) {
        return Ok(None);
    }
    let advertised = advertised(args)?;
    let streams = match streams {
        Some(at) => Some((SocketAddr::new(advertised, at.port()), peer_tls(replication)?)),
        None => None,
    };
    Ok(Some(ReplicationSettings {
        me: ReplicaId(name(replication)),
        incarnation: incarnation_now(),
        zone: replication.zone.clone(),
        relays: replication.zone_relays,
        tier: kubernetes::name(args),
        gossip: SocketAddr::new(args.bind, replication.gossip_port),
        advertise: SocketAddr::new(advertised, replication.gossip_port),
        ext_proc: SocketAddr::new(advertised, ext_proc.port()),
        seeds: replication.peers.clone(),
        interval: replication.gossip_interval,
        seal: seal(replication)?,
        accept_gossip_version_one: replication.gossip_accept_v1,
        streams,
        one_keeper: replication.keepers == Keepers::One,
        wire_version_max: codec::VERSION,
    }))
}

/// Whether the flags say where peers are.
pub(super) fn has_peers(args: &ServeArgs) -> bool {
    !args.replication.peers.is_empty() || args.kubernetes.peer_selector.is_some()
}

/// The key under which prompts are hashed: derived from the file and the pool's name, or random without a file.
///
/// # Errors
/// One sentence with the fix.
pub(super) fn prompt_salt(args: &ServeArgs) -> Result<PromptSalt, String> {
    prompt_salt_of(&kubernetes::name(args), args)
}

/// The same, for the pool of this name.
///
/// # Errors
/// One sentence with the fix.
pub(super) fn prompt_salt_of(pool: &str, args: &ServeArgs) -> Result<PromptSalt, String> {
    let Some(path) = &args.replication.prompt_salt_file else {
        let mut drawn = [0; 16];
        let failed = |_| "the system gives no random bytes for a prompt salt; is /dev/urandom there?".to_owned();
        SystemRandom::new().fill(&mut drawn).map_err(failed)?;
        return Ok(PromptSalt::Agreed(u128::from_le_bytes(drawn)));
    };
    let secret = std::fs::read(path).map_err(|why| format!("--prompt-salt-file {}: {why}", path.display()))?;
    match secret.trim_ascii() {
        [] => Err(format!(
            "--prompt-salt-file {}: it is empty; head -c 32 /dev/urandom | base64 makes one",
            path.display()
        )),
        secret => {
            let pool = pool.as_bytes();
            let about = [&(pool.len() as u64).to_le_bytes(), pool, secret].concat();
            let salt = digest(&SHA256, &about).as_ref().first_chunk().copied().unwrap_or_default();
            Ok(PromptSalt::Given(u128::from_le_bytes(salt)))
        }
    }
}

/// The address at which peers reach this replica.
fn advertised(args: &ServeArgs) -> Result<IpAddr, String> {
    let bound = Some(args.bind).filter(|bound| !bound.is_unspecified());
    let address = args.replication.advertise.or(bound);
    address.ok_or_else(|| {
        "there are peers (--peer or --peer-selector), and nothing says where others reach this replica; add --advertise IP (in \
        Kubernetes the pod's, as POD_IP)"
            .to_owned()
    })
}

fn seal(replication: &ReplicationArgs) -> Result<Seal, String> {
    match &replication.gossip_key_file {
        Some(path) => Ok(Seal::KeyFile(path.clone())),
        None if replication.insecure_gossip => Ok(Seal::Insecure),
        None => Err("there are peers (--peer or --peer-selector) and no key for gossip; add --gossip-key-file FILE (head -c 32 /dev/urandom | \
            base64 makes one), or say --insecure-gossip"
            .to_owned()),
    }
}

fn peer_tls(replication: &ReplicationArgs) -> Result<PeerTls, String> {
    match &replication.peer_cert_path {
        Some(folder) => {
            let names = if replication.allow_shared_peer_certificate { PeerNames::Shared } else { PeerNames::Own };
            if names == PeerNames::Shared {
                tracing::warn!(
                    "--allow-shared-peer-certificate: whoever holds a peer certificate can claim the name of every member"
                );
            }
            let tls = PeerTls::Mutual { folder: folder.clone(), names };
            tls.check(&ReplicaId(name(replication))).map_err(|why| format!("--peer-cert-path: {why}"))?;
            Ok(tls)
        }
        None if replication.insecure_peer_streams => Ok(PeerTls::Plain),
        None => Err("there are peers (--peer or --peer-selector) and no certificates for peer streams; add --peer-cert-path DIR, say \
            --insecure-peer-streams, or go without them: --peer-streams=false"
            .to_owned()),
    }
}

/// The replica's name: as given, or the host's name with the gossip port, which tells replicas on one host apart.
fn name(replication: &ReplicationArgs) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "replica".to_owned());
    replication.replica_name.clone().unwrap_or_else(|| format!("{}:{}", host().trim(), replication.gossip_port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Command, Verb};

    fn of(flags: &str) -> Result<Option<ReplicationSettings>, String> {
        let flags = format!("murmuration serve {flags}");
        let Verb::Serve(args) = Command::try_parse_from(flags.split_whitespace()).unwrap().verb else { unreachable!() };
        let streams = args.replication.peer_streams.then(|| "127.0.0.1:9005".parse().unwrap());
        settings(&args, "127.0.0.1:9002".parse().unwrap(), streams)
    }

    #[test]
    fn without_a_peer_there_is_no_replication() {
        assert!(of("").unwrap().is_none());
    }

    #[test]
    fn plaintext_needs_an_explicit_flag() {
        let fixes = [
            ("--peer a:1", "--advertise"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-peer-streams", "--insecure-gossip"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-gossip", "--insecure-peer-streams"),
            ("--peer a:1 --bind 127.0.0.1 --insecure-gossip --peer-cert-path /nowhere", "ca.crt"),
        ];
        for (flags, fix) in fixes {
            assert!(of(flags).unwrap_err().contains(fix), "{flags}");
        }
        let parsed =
            of("--peer a:1 --peer b:2 --bind 127.0.0.1 --insecure-gossip --insecure-peer-streams --replica-name me");
        let parsed = parsed.unwrap().unwrap();
        assert_eq!((parsed.me.0.as_str(), parsed.seeds.len(), parsed.one_keeper), ("me", 2, true));
        assert_eq!(parsed.streams.unwrap(), ("127.0.0.1:9005".parse().unwrap(), PeerTls::Plain));
    }

    fn salt(flags: &str) -> Result<PromptSalt, String> {
        let flags = format!("murmuration serve {flags}");
        let Verb::Serve(args) = Command::try_parse_from(flags.split_whitespace()).unwrap().verb else { unreachable!() };
        prompt_salt(&args)
    }

    #[test]
    fn a_salt_file_counts_for_a_replica_without_peers_too_and_each_pool_has_its_own_salt() {
        let file = std::env::temp_dir().join(format!("murmuration-salt-{}", std::process::id()));
        std::fs::write(&file, "secret\n").unwrap();
        let of = |flags: &str| salt(&format!("--prompt-salt-file {} {flags}", file.display())).unwrap();
        assert!(matches!(of(""), PromptSalt::Given(_)));
        assert_eq!(of("--pool-name a"), of("--pool-name a --peer b:1 --bind 127.0.0.1"));
        assert!(of("--pool-name a") != of("--pool-name b"));
        std::fs::write(&file, " \n").unwrap();
        assert!(salt(&format!("--prompt-salt-file {}", file.display())).unwrap_err().contains("empty"));
        std::fs::remove_file(&file).unwrap();
        assert!(salt(&format!("--prompt-salt-file {}", file.display())).unwrap_err().contains("--prompt-salt-file"));
    }

    #[test]
    fn without_a_file_the_salt_is_random_and_never_shown() {
        let (one, other) = (salt("").unwrap(), salt("").unwrap());
        assert!(matches!(one, PromptSalt::Agreed(_)) && one != other);
        assert_eq!(format!("{one:?}"), "Agreed");
    }

    #[test]
    fn without_streams_no_certificates_are_required() {
        let flags = "--peer a:1 --bind 127.0.0.1 --insecure-gossip --peer-streams=false --keepers all";
        let parsed = of(flags).unwrap().unwrap();
        assert_eq!((parsed.streams, parsed.one_keeper), (None, false));
    }
}
