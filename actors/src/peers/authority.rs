//! A throw-away certificate authority for peers, for tests and for a tier on one machine.
//!
//! Must not know streams. Its key lives as long as the value does: nothing here fits a cluster, where the folder is a
//! mounted secret.

use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use super::tls::PEER_NAME;

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

// === impl Authority ===

impl Authority {
    /// A fresh one.
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

    /// A certificate for `name` ([`PEER_NAME`] for a peer) and its key, in PEM; good for both ends of a connection.
    ///
    /// # Errors
    /// When `name` is no DNS name.
    pub fn issue(&self, name: &str) -> Result<(String, String), rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((certificate.pem(), key.serialize_pem()))
    }

    /// Writes the folder of one peer, with a certificate of its own: `ca.crt`, `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// When a file can't be written.
    pub fn write_folder(&self, folder: &Path) -> io::Result<()> {
        let (certificate, key) = self.issue(PEER_NAME).map_err(io::Error::other)?;
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
