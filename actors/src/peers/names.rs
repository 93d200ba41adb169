//! Which replica a certificate belongs to. It carries the name as a DNS name, or as a URI where it is no valid DNS
//! name.
//!
//! Must not know which end checks it, nor whether the certificate is valid: the handshake checks that.

use murmuration::id::ReplicaId;
use rustls::pki_types::{CertificateDer, DnsName};

/// The prefix of a replica's URI.
const URI: &str = "murmuration://replica/";

/// Whether the leaf of `chain` names `replica`.
pub(super) fn carries(chain: Option<&[CertificateDer<'_>]>, replica: &ReplicaId) -> bool {
    let Some(leaf) = chain.and_then(<[_]>::first) else { return false };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else { return false };
    let uri = uri(replica);
    leaf.valid_dns_names().any(|name| name == replica.0) || leaf.valid_uri_names().any(|name| name == uri)
}

/// The name that a certificate of `replica` must carry beside [`super::PEER_NAME`].
pub(super) fn wanted(replica: &ReplicaId) -> String {
    if is_dns(replica) { replica.0.clone() } else { uri(replica) }
}

/// Whether the name can be a DNS name. A name that parses as an IP address would be issued as an address.
pub(super) fn is_dns(replica: &ReplicaId) -> bool {
    DnsName::try_from(replica.0.as_str()).is_ok() && replica.0.parse::<std::net::IpAddr>().is_err()
}

/// The name as a URI. Bytes outside the unreserved set are percent-encoded.
pub(super) fn uri(replica: &ReplicaId) -> String {
    let piece = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    URI.chars().map(String::from).chain(replica.0.bytes().map(piece)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustls::pki_types::pem::PemObject;

    use super::super::Authority;
    use super::*;

    fn id(name: &str) -> ReplicaId {
        ReplicaId(name.to_owned())
    }

    #[test]
    fn a_certificate_names_its_replica_and_no_other() {
        let authority = Authority::new().unwrap();
        for name in ["epp-0", "epp-0:9004", "10.0.0.1", "a b/\u{e9}%"] {
            let (certificate, _) = authority.issue_peer(&id(name)).unwrap();
            let leaf = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            assert!(carries(Some(std::slice::from_ref(&leaf)), &id(name)), "{name}");
            for other in ["epp-1", "EPP-0", "epp-0:9005", "10.0.0.2", "", "murmuration", "a b/e%"] {
                assert!(!carries(Some(std::slice::from_ref(&leaf)), &id(other)), "{name} is not {other}");
            }
        }
        assert!(!carries(None, &id("epp-0")) && !carries(Some(&[]), &id("epp-0")));
        assert_eq!(wanted(&id("epp-0:9004")), "murmuration://replica/epp-0%3A9004");
    }
}
