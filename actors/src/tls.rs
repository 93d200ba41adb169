//! The server's certificate: self-signed by default, or from a directory whose changes are followed.
//!
//! Must not know what is served behind it. Data planes do not verify an endpoint picker's certificate by default. So a
//! self-signed one encrypts without proving identity; a directory with `tls.crt` and `tls.key` does both.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use murmuration::event::Event;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{PeerMisbehaved, ServerConfig};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::Stream;

use crate::connection::{Arrivals, EventSink, observed, server_name};
use crate::environment::Connection;
use crate::handshakes::Handshakes;

/// How long a handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Handshakes under way at once.
const HANDSHAKES_MAX: usize = 256;
/// Bytes of a refused server name that are reported.
const NAME_MAX: usize = 256;
/// How often the files are read. They are small, and a mounted secret changes by a swap of links that leaves no useful
/// modification time, so their bytes are compared.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("can't read {}; --cert-path names a directory with tls.crt and tls.key", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file holds no PEM of its kind.
    #[error("{} holds no {what} in PEM", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What was expected.
        what: &'static str,
    },
    /// The certificate can't be made, or does not belong to its key.
    #[error("the certificate can't be used; tls.crt and tls.key must belong together")]
    Certificate(#[source] rustls::Error),
    /// No self-signed certificate could be made.
    #[error("no self-signed certificate could be made")]
    SelfSigned(#[source] rcgen::Error),
}

/// The server side of TLS, for HTTP/2 unless said otherwise.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

/// The certificate in force; each new connection gets the newest.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// `tls.crt` and `tls.key` as they were read.
#[derive(PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

// === impl ServerTls ===

impl ServerTls {
    /// A fresh self-signed certificate for `localhost`.
    pub fn self_signed() -> Result<Self, TlsError> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(TlsError::SelfSigned)?;
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        Self::with(certified(vec![made.cert.der().clone()], key)?)
    }

    /// The certificate in `directory`: `tls.crt` (the chain, leaf first) and `tls.key`.
    pub fn from_directory(directory: &Path) -> Result<Self, TlsError> {
        Self::with(Files::read(directory)?.certified(directory)?)
    }

    /// The same certificate for servers of another protocol than HTTP/2, by its name in ALPN.
    pub(crate) fn speaking(self, protocol: &[u8]) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = vec![protocol.to_vec()];
        Self { config: Arc::new(config), ..self }
    }

    /// Follows changes of the files in `directory`, for ever. New connections get the new certificate. Files that can't
    /// be used are reported once, and the certificate in force stays.
    pub async fn follow(self, directory: PathBuf, emit: impl Fn(Event)) {
        let mut known = Files::read(&directory).ok();
        let mut reported = None;
        loop {
            sleep(LOOK_INTERVAL).await;
            let read = Files::read(&directory);
            if let (Ok(files), Some(known)) = (&read, &known)
                && files == known
            {
                continue;
            }
            match read.and_then(|files| Ok((files.certified(&directory)?, files))) {
                Ok((certificate, files)) => {
                    self.current.replace(certificate);
                    (known, reported) = (Some(files), None);
                    emit(Event::Reloaded(format!("the certificate in {}", directory.display())));
                }
                Err(error) => {
                    let why = with_cause(&error);
                    if reported.as_ref() != Some(&why) {
                        emit(Event::ReloadFailed(why.clone()));
                        reported = Some(why);
                    }
                }
            }
        }
    }

    fn with(certificate: CertifiedKey) -> Result<Self, TlsError> {
        let current = Arc::new(Current(RwLock::new(Arc::new(certificate))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), current })
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

// === impl Current ===

impl Current {
    fn replace(&self, certificate: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

// === impl Files ===

impl Files {
    fn read(directory: &Path) -> Result<Self, TlsError> {
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read(&path).map_err(|source| TlsError::Read { path, source })
        };
        Ok(Self { certificate: read("tls.crt")?, key: read("tls.key")? })
    }

    fn certified(&self, directory: &Path) -> Result<CertifiedKey, TlsError> {
        let no = |name: &str, what| TlsError::Pem { path: directory.join(name), what };
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>().unwrap_or_default();
        if chain.is_empty() {
            return Err(no("tls.crt", "certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| no("tls.key", "private key"))?;
        certified(chain, key)
    }
}

/// Connections of `arrivals`, handshake done.
pub(crate) fn incoming(arrivals: Arrivals, tls: ServerTls) -> impl Stream<Item = io::Result<TlsStream<Connection>>> {
    let (acceptor, event_sink) = (TlsAcceptor::from(tls.config), arrivals.event_sink().clone());
    Handshakes::new(arrivals, HANDSHAKES_MAX, move |socket, _| handshake(acceptor.clone(), socket, event_sink.clone()))
}

/// `None` for a client whose handshake fails or takes too long.
async fn handshake(acceptor: TlsAcceptor, socket: Connection, event_sink: EventSink) -> Option<TlsStream<Connection>> {
    let (socket, recording) = observed(socket);
    match timeout(HANDSHAKE_TIMEOUT, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(error)) if is_server_name_error(&error) => {
            let name = server_name(&recording.received()).unwrap_or_default();
            let name = String::from_utf8_lossy(&name[..name.len().min(NAME_MAX)]).into_owned();
            event_sink.emit(&Event::ServerNameRefused { port: event_sink.port(), name });
            event_sink.closed("server-name");
        }
        // What TLS refuses is `InvalidData`; other errors are connections that broke, such as a prober's.
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => event_sink.closed("handshake"),
        Ok(Err(_)) => {}
        Err(_) => event_sink.closed("handshake-timeout"),
    }
    None
}

/// Whether the handshake failed because the client asked for a server name that is no DNS name. It can't be repaired
/// here: both ends hash the bytes of the ClientHello.
fn is_server_name_error(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName)))
}

fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, TlsError> {
    let provider: CryptoProvider = ring::default_provider();
    CertifiedKey::from_der(chain, key, &provider).map_err(TlsError::Certificate)
}

fn with_cause(error: &TlsError) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}")
}

#[cfg(test)]
mod tests;
