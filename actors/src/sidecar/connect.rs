//! Connections to engines, plain or over TLS.
//!
//! Must not know HTTP.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection as Described};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use crate::discovery::resolve::resolve;
use crate::environment::{Connection, Network};

/// Opens connections.
#[derive(Clone)]
pub(super) struct Connector {
    network: Arc<dyn Network>,
    deadline: Duration,
    tls: Option<Arc<ClientConfig>>,
}

/// An open connection.
pub(super) struct EngineConnection(TokioIo<Connection>);

// === impl Connector ===

impl Connector {
    pub(super) fn new(network: Arc<dyn Network>, deadline: Duration, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { network, deadline, tls }
    }

    async fn open(self, to: Uri) -> io::Result<EngineConnection> {
        let host = to.host().unwrap_or_default();
        let port = to.port_u16().ok_or_else(|| io::Error::other("a target without a port"))?;
        let address = resolve(host, port).await.map_err(io::Error::other)?;
        let connection = self.network.connect(address).await?;
        let Some(config) = self.tls else { return Ok(EngineConnection(TokioIo::new(connection))) };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        let encrypted = TlsConnector::from(config).connect(name, connection).await?;
        Ok(EngineConnection(TokioIo::new(Connection::new(encrypted))))
    }
}

impl Service<Uri> for Connector {
    type Response = EngineConnection;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<EngineConnection>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let deadline = connector.deadline;
            let opened = timeout(deadline, connector.open(to)).await;
            opened.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")))
        })
    }
}

// === impl EngineConnection ===

impl Described for EngineConnection {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for EngineConnection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl Write for EngineConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}
