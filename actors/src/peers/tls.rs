//! Which ends are peers: both ends must show a certificate of one authority that names a peer and the replica.
//!
//! Must not know streams. The folder holds `ca.crt` (the trusted authorities; two during a rotation), `tls.crt` (the
//! chain, leaf first) and `tls.key`. Every peer certificate carries [`PEER_NAME`] as DNS name and the replica's name
//! (see [`super::names`]), and is valid for server and client. Other certificates of the same authority are rejected.
//! New connections read the files again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use murmuration::id::ReplicaId;
use rustls::client::verify_server_name;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::names;

/// The DNS name that every peer certificate carries.
pub const PEER_NAME: &str = "murmuration-peer";

/// How peer streams are protected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerTls {
    /// No protection: any client that reaches the port receives all facts, and any server that answers is trusted. Only
    /// if configured.
    Plain,
    /// TLS 1.3 with certificates on both ends.
    Mutual {
        /// Where `ca.crt`, `tls.crt` and `tls.key` are.
        folder: PathBuf,
        /// Whether a certificate names the replica that shows it.
        names: PeerNames,
    },
}

/// Whether a peer certificate names the replica that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerNames {
    /// It does: no peer can take another replica's name or slot.
    Own,
    /// It does not: the holder of any peer certificate may claim the name of any member. Only if configured.
    Shared,
}

/// Why peer streams can't be protected.
#[derive(Debug, thiserror::Error)]
pub enum PeerTlsError {
    /// A file can't be read.
    #[error("can't read {} for peer streams; the folder needs ca.crt, tls.crt and tls.key", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no PEM of its kind.
    #[error("{} holds no {what} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The certificate can't be used.
    #[error("the peer certificate in {} can't be used; tls.crt and tls.key must belong together", folder.display())]
    Certificate {
        /// Where.
        folder: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The authority can't be used.
    #[error("{} holds no authority that can be believed", path.display())]
    Authority {
        /// Which.
        path: PathBuf,
        /// Why.
        source: VerifierBuilderError,
    },
    /// Peers would refuse the certificate, because it is not this replica's.
    #[error(
        "{} does not name the replica {replica:?}; issue it with the DNS name or URI {} too, or say \
         --allow-shared-peer-certificate",
        path.display(),
        names::wanted(replica)
    )]
    OwnName {
        /// Which.
        path: PathBuf,
        /// The replica that would show it.
        replica: ReplicaId,
    },
    /// Peers would refuse the certificate.
    #[error("{} does not carry the DNS name {PEER_NAME}; peers would refuse it", path.display())]
    Name {
        /// Which.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The files as they were read.
#[derive(PartialEq, Eq)]
pub(super) struct Files {
    folder: PathBuf,
    authority: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

// === impl PeerTls ===

impl PeerTls {
    /// Checks that the streams of `me` can be protected with the current files. Call it before a replica starts.
    ///
    /// # Errors
    /// See [`PeerTlsError`].
    pub fn check(&self, me: &ReplicaId) -> Result<(), PeerTlsError> {
        let Self::Mutual { folder, names } = self else { return Ok(()) };
        let files = Files::read(folder)?;
        files.server()?;
        files.client()?;
        let (chain, _) = files.own()?;
        if *names == PeerNames::Own && !names::carries(Some(&chain), me) {
            return Err(PeerTlsError::OwnName { path: folder.join("tls.crt"), replica: me.clone() });
        }
        Ok(())
    }

    /// Whether certificates name the replica that shows them.
    pub(super) fn names_replicas(&self) -> bool {
        matches!(self, Self::Mutual { names: PeerNames::Own, .. })
    }
}

// === impl Files ===

impl Files {
    pub(super) fn read(folder: &Path) -> Result<Self, PeerTlsError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| PeerTlsError::Read { path, source })
        };
        let (authority, certificate, key) = (read("ca.crt")?, read("tls.crt")?, read("tls.key")?);
        Ok(Self { folder: folder.to_owned(), authority, certificate, key })
    }

    /// The configuration of the server. The client's name is checked after the handshake, see [`is_peer`].
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>, PeerTlsError> {
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(self.authorities()?.into(), provider.clone())
            .build()
            .map_err(|source| PeerTlsError::Authority { path: self.folder.join("ca.crt"), source })?;
        let (chain, key) = self.own()?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .and_then(|config| config.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(|source| PeerTlsError::Certificate { folder: self.folder.clone(), source })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    /// The configuration of the client.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>, PeerTlsError> {
        let authorities = self.authorities()?;
        let (chain, key) = self.own()?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .and_then(|config| config.with_root_certificates(authorities).with_client_auth_cert(chain, key))
            .map_err(|source| PeerTlsError::Certificate { folder: self.folder.clone(), source })?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Arc::new(config))
    }

    fn authorities(&self) -> Result<RootCertStore, PeerTlsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates(&self.authority, "ca.crt")?);
        if store.is_empty() { Err(self.no("ca.crt", "certificate of an authority")) } else { Ok(store) }
    }

    fn own(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PeerTlsError> {
        let chain = self.certificates(&self.certificate, "tls.crt")?;
        named(chain.first()).map_err(|source| PeerTlsError::Name { path: self.folder.join("tls.crt"), source })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| self.no("tls.key", "private key"))?;
        Ok((chain, key))
    }

    fn certificates(&self, pem: &[u8], name: &str) -> Result<Vec<CertificateDer<'static>>, PeerTlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        found.ok().filter(|found| !found.is_empty()).ok_or_else(|| self.no(name, "certificate"))
    }

    fn no(&self, name: &str, what: &'static str) -> PeerTlsError {
        PeerTlsError::Pem { path: self.folder.join(name), what }
    }
}

/// Whether `chain` belongs to a peer. The handshake has checked its authority.
pub(super) fn is_peer(chain: Option<&[CertificateDer<'_>]>) -> bool {
    named(chain.and_then(<[_]>::first)).is_ok()
}

/// The server name that the client checks.
pub(super) fn peer_name() -> Result<ServerName<'static>, rustls::Error> {
    ServerName::try_from(PEER_NAME).map_err(|_| rustls::Error::General("no DNS name".into()))
}

fn named(leaf: Option<&CertificateDer<'_>>) -> Result<(), rustls::Error> {
    let leaf = leaf.ok_or(rustls::Error::NoCertificatesPresented)?;
    verify_server_name(&ParsedCertificate::try_from(leaf)?, &peer_name()?)
}
