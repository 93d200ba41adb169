//! TLS towards engines: which certificates are accepted.
//!
//! Must not know connections.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::settings::LegTls;

/// Accepts any certificate. The leg is encrypted, and the engine proves nothing.
#[derive(Debug)]
struct AnyCertificate(CryptoProvider);

/// The client's side of a leg; `None` for a plain one. `authorities` is PEM.
///
/// # Errors
/// One sentence with the likely cure.
pub(super) fn client_config(leg: LegTls, authorities: &[u8]) -> Result<Option<Arc<ClientConfig>>, String> {
    let provider = ring::default_provider();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS towards engines can't be set up: {error}"))?;
    let config = match leg {
        LegTls::Off => return Ok(None),
        LegTls::Unverified => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
        LegTls::Verified => {
            let mut roots = RootCertStore::empty();
            let read = CertificateDer::pem_slice_iter(authorities).filter_map(Result::ok);
            roots.add_parsable_certificates(read);
            if roots.is_empty() {
                let why = "no certificate authority to verify engines with; name a PEM file by --engine-ca-file, or \
                           turn verification off by --tls-insecure-skip-verify";
                return Err(why.to_owned());
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
    };
    Ok(Some(Arc::new(config)))
}

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verified_leg_needs_an_authority_and_says_so() {
        assert!(client_config(LegTls::Off, b"").is_ok_and(|config| config.is_none()));
        assert!(client_config(LegTls::Unverified, b"").is_ok_and(|config| config.is_some()));
        let why = client_config(LegTls::Verified, b"no pem").err().unwrap_or_default();
        assert!(why.contains("--engine-ca-file") && why.contains("--tls-insecure-skip-verify"), "{why}");
    }
}
