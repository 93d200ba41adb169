//! Ends that are no peer are neither served nor trusted.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::*;

struct Folder(PathBuf);

// === impl Folder ===

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self(std::env::temp_dir().join(format!("murmuration-peers-{process}-{number}")))
    }

    /// The folder of the peer `name`, issued by `authority`.
    fn of(authority: &Authority, name: &str) -> Self {
        let folder = Self::new();
        authority.write_folder(&folder.0, &ReplicaId(name.into())).unwrap();
        folder
    }

    /// A folder that trusts `trusted` and shows a certificate of `shown` for `name`.
    fn mixed(trusted: &Authority, shown: &Authority, name: &str) -> Self {
        let folder = Self::of(trusted, "follower");
        let (certificate, key) = shown.issue(name).unwrap();
        std::fs::write(folder.0.join("tls.crt"), certificate).unwrap();
        std::fs::write(folder.0.join("tls.key"), key).unwrap();
        folder
    }

    fn tls(&self) -> PeerTls {
        PeerTls::Mutual { folder: self.0.clone(), names: PeerNames::Own }
    }

    fn shared(&self) -> PeerTls {
        PeerTls::Mutual { folder: self.0.clone(), names: PeerNames::Shared }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn served_from(folder: &Folder) -> TestServer {
    let server = TestServer::starts_at(publisher(1), folder.tls(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
    publish_placements(&server.publisher, 3);
    server
}

/// Waits until the server has rejected the follower's certificate.
async fn rejected(server: &TestServer, follower: &TestFollower) {
    eventually(|| ignored(&server.telemetry, "certificate") >= 1.0 && follower.is_down_because("")).await;
    assert!(follower.batches().is_empty());
}

#[tokio::test]
async fn peers_of_one_authority_connect() {
    let authority = Authority::new().unwrap();
    let (theirs, ours) = (Folder::of(&authority, "b"), Folder::of(&authority, "follower"));
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    follower.received_up_to(3).await;
}

#[tokio::test]
async fn a_follower_with_a_certificate_of_another_authority_is_rejected() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (theirs, ours) = (Folder::of(&authority, "b"), Folder::mixed(&authority, &other, PEER_NAME));
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    rejected(&server, &follower).await;
}

#[tokio::test]
async fn a_follower_with_a_certificate_for_something_else_is_rejected() {
    let authority = Authority::new().unwrap();
    let theirs = Folder::of(&authority, "b");
    let server = served_from(&theirs).await;
    // `PeerTls` would refuse this folder, so the test opens the connection itself.
    let (certificate, key) = authority.issue("another-service").unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let config = client(&authority).with_client_auth_cert(chain, key).unwrap();
    assert!(is_closed(server.address, config).await);
    eventually(|| ignored(&server.telemetry, "certificate") >= 1.0).await;
}

#[tokio::test]
async fn a_follower_without_a_certificate_is_rejected() {
    let authority = Authority::new().unwrap();
    let theirs = Folder::of(&authority, "b");
    let server = served_from(&theirs).await;
    assert!(is_closed(server.address, client(&authority).with_no_client_auth()).await);
    eventually(|| ignored(&server.telemetry, "certificate") >= 1.0).await;
    let plain = TestFollower::follows(vec![server.member()]).await;
    eventually(|| plain.is_down_because("")).await;
    assert!(plain.batches().is_empty());
}

#[tokio::test]
async fn a_server_of_another_authority_or_without_any_is_not_trusted() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (theirs, ours) = (Folder::of(&other, "b"), Folder::of(&authority, "follower"));
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    eventually(|| follower.is_down_because("certificate")).await;
    let plain = TestServer::starts(publisher(1)).await;
    publish_placements(&plain.publisher, 3);
    follower.members.send_replace(vec![plain.member()]);
    eventually(|| follower.is_down_because("InvalidMessage") || follower.is_down_because("corrupt")).await;
    assert!(follower.batches().is_empty());
}

#[tokio::test]
async fn a_certificate_that_peers_would_refuse_is_reported_at_the_start() {
    let (authority, other) = (Authority::new().unwrap(), Authority::new().unwrap());
    let wrong = Folder::mixed(&authority, &other, "another-service")
        .tls()
        .check(&ReplicaId("b".into()))
        .unwrap_err()
        .to_string();
    assert!(wrong.contains(PEER_NAME) && wrong.contains("tls.crt"), "{wrong}");
    let missing = Folder::new().tls().check(&ReplicaId("b".into())).unwrap_err().to_string();
    assert!(missing.contains("ca.crt") && missing.contains("tls.key"), "{missing}");
    let mismatch = Folder::of(&authority, "b");
    std::fs::write(mismatch.0.join("tls.key"), other.issue(PEER_NAME).unwrap().1).unwrap();
    assert!(mismatch.tls().check(&ReplicaId("b".into())).unwrap_err().to_string().contains("belong together"));
    let (b, own) = (ReplicaId("b".into()), Folder::of(&authority, "b"));
    assert!(own.tls().check(&b).is_ok() && PeerTls::Plain.check(&b).is_ok());
    let another = own.tls().check(&ReplicaId("c:9004".into())).unwrap_err().to_string();
    assert!(another.contains("murmuration://replica/c%3A9004") && another.contains("tls.crt"), "{another}");
    assert!(own.shared().check(&ReplicaId("c".into())).is_ok());
}

/// A rotation: both ends change to a new authority, one after the other, and connect again.
#[tokio::test]
async fn new_connections_are_made_with_the_files_that_are_there() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (theirs, ours) = (Folder::of(&old, "b"), Folder::of(&new, "follower"));
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    eventually(|| follower.is_down_because("certificate")).await;
    new.write_folder(&theirs.0, &ReplicaId("b".into())).unwrap();
    follower.received_up_to(3).await;
}

/// Regression: any peer certificate was accepted for every peer's name.
#[tokio::test]
async fn a_peer_can_not_take_the_name_of_another() {
    let authority = Authority::new().unwrap();
    let (theirs, another) = (Folder::of(&authority, "b"), Folder::of(&authority, "a"));
    let server = served_from(&theirs).await;
    // It follows as `follower`, a member, and shows the certificate of `a`, another member.
    let follower = TestFollower::follows_by(vec![server.member()], another.tls()).await;
    eventually(|| ignored(&server.telemetry, "not-its-name") >= 1.0).await;
    eventually(|| follower.is_down_because("not that of follower")).await;
    assert!(follower.batches().is_empty());
    let shared = TestFollower::follows_by(vec![server.member()], another.shared()).await;
    eventually(|| shared.is_down_because("not that of follower")).await;
    assert!(shared.batches().is_empty(), "the server decides");
}

#[tokio::test]
async fn a_server_that_is_another_peer_is_not_trusted() {
    let authority = Authority::new().unwrap();
    let (theirs, ours) = (Folder::of(&authority, "c"), Folder::of(&authority, "follower"));
    // It serves as `b` with the certificate of `c`.
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    eventually(|| follower.is_down_because("not that of b")).await;
    assert!(follower.batches().is_empty());
    let trusting = TestFollower::follows_by(vec![server.member()], ours.shared()).await;
    trusting.received_up_to(3).await;
}

/// A shared certificate works only where it is allowed on both ends.
#[tokio::test]
async fn a_shared_certificate_is_accepted_only_where_it_is_allowed() {
    let authority = Authority::new().unwrap();
    let (theirs, ours) =
        (Folder::mixed(&authority, &authority, PEER_NAME), Folder::mixed(&authority, &authority, PEER_NAME));
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = TestServer::starts_at(publisher(1), theirs.shared(), nowhere).await;
    publish_placements(&server.publisher, 3);
    let strict = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    eventually(|| strict.is_down_because("not that of b")).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.shared()).await;
    follower.received_up_to(3).await;
}

/// The authority is replaced on the server: streams that the old one certified end.
#[tokio::test]
async fn streams_are_checked_again_when_certificates_change() {
    let (old, new) = (Authority::new().unwrap(), Authority::new().unwrap());
    let (theirs, ours) = (Folder::of(&old, "b"), Folder::of(&old, "follower"));
    let server = served_from(&theirs).await;
    let follower = TestFollower::follows_by(vec![server.member()], ours.tls()).await;
    follower.received_up_to(3).await;
    new.write_folder(&theirs.0, &ReplicaId("b".into())).unwrap();
    eventually(|| follower.is_down_because("")).await;
    new.write_folder(&ours.0, &ReplicaId("follower".into())).unwrap();
    eventually(|| follower.stream().is_some_and(|stream| stream.connected)).await;
    // The other end: a follower whose own files changed calls again.
    let since = follower.stream().map(|stream| stream.since);
    follower.rotated.send_modify(|changes| *changes += 1);
    eventually(|| follower.stream().is_some_and(|stream| stream.connected && Some(stream.since) != since)).await;
}

fn client(trusted: &Authority) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut authorities = rustls::RootCertStore::empty();
    authorities.add(CertificateDer::from_pem_slice(trusted.certificate().as_bytes()).unwrap()).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(authorities)
}

/// Whether the server closes the connection without data. In TLS 1.3 a client's handshake completes before the server
/// has checked its certificate.
async fn is_closed(to: SocketAddr, config: rustls::ClientConfig) -> bool {
    let socket = TcpStream::connect(to).await.unwrap();
    let name = ServerName::try_from(PEER_NAME).unwrap();
    let Ok(mut stream) = TlsConnector::from(Arc::new(config)).connect(name, socket).await else { return true };
    matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_))
}
