//! A throw-away certificate authority for peers: for tests, and for a tier on one machine.
//!
//! Must not know streams. Its key exists only in memory. It does not fit a cluster, where the folder is a mounted
//! secret.

use std::io;
use std::path::Path;

use murmuration::id::ReplicaId;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};

use super::names;
use super::tls::PEER_NAME;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

// === impl Authority ===

impl Authority {
    /// Creates an authority with a new key.
    ///
    /// # Errors
    /// When no key could be made.
    pub fn new() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a certificate for the DNS name `name`, valid for both ends of a connection. Returns it and its key in
    /// PEM.
    ///
    /// # Errors
    /// When `name` is no DNS name.
    pub fn issue(&self, name: &str) -> Result<(String, String), rcgen::Error> {
        self.sign(CertificateParams::new(vec![name.to_owned()])?)
    }

    /// Issues a certificate for the peer `replica`. It carries [`PEER_NAME`] and the replica's name.
    ///
    /// # Errors
    /// When no key could be made.
    pub fn issue_peer(&self, replica: &ReplicaId) -> Result<(String, String), rcgen::Error> {
        let mut params = CertificateParams::new(vec![PEER_NAME.to_owned()])?;
        params.subject_alt_names.push(match names::is_dns(replica) {
            true => SanType::DnsName(replica.0.as_str().try_into()?),
            false => SanType::URI(names::uri(replica).try_into()?),
        });
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Writes the folder of the peer `replica`, with a certificate of its own: `ca.crt`, `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_folder(&self, folder: &Path, replica: &ReplicaId) -> io::Result<()> {
        let (certificate, key) = self.issue_peer(replica).map_err(io::Error::other)?;
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("ca.crt"), self.certificate())?;
        std::fs::write(folder.join("tls.crt"), certificate)?;
        std::fs::write(folder.join("tls.key"), key)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}
