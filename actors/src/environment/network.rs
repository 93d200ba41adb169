//! The network: outgoing connections and datagram sockets.
//!
//! Must not know host names. The machine resolves them, and the simulator has addresses only.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpStream, UdpSocket};

use super::connection::Connection;

/// A network.
#[async_trait]
pub trait Network: Debug + Send + Sync + 'static {
    /// A connection to `to` that sends small writes at once.
    ///
    /// # Errors
    /// When nothing listens at `to`, or `to` is unreachable.
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection>;

    /// A datagram socket bound to `at`.
    ///
    /// # Errors
    /// When the address is in use or not local.
    async fn bind(&self, at: SocketAddr) -> io::Result<Box<dyn Datagrams>>;
}

/// A datagram socket. Its futures can be dropped at any await; a datagram may then be lost.
#[async_trait]
pub trait Datagrams: Debug + Send + Sync + 'static {
    /// Sends one datagram; returns the number of bytes sent.
    ///
    /// # Errors
    /// When it was not sent; later ones may succeed.
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Receives one datagram; returns its length and its sender.
    ///
    /// # Errors
    /// When the socket failed; it may recover.
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// The local address.
    ///
    /// # Errors
    /// When the socket is gone.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// The machine's own sockets.
#[derive(Clone, Copy, Debug)]
pub struct Sockets;

// === impl Sockets ===

#[async_trait]
impl Network for Sockets {
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        Ok(Connection::new(socket))
    }

    async fn bind(&self, at: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        Ok(Box::new(UdpSocket::bind(at).await?))
    }
}

#[async_trait]
impl Datagrams for UdpSocket {
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        Self::send_to(self, datagram, to).await
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        Self::recv_from(self, buffer).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }
}

/// Wraps a socket that was bound before the runtime started. Call it inside the runtime.
///
/// # Errors
/// When this runtime can't use the socket.
pub fn datagrams(socket: std::net::UdpSocket) -> io::Result<Box<dyn Datagrams>> {
    socket.set_nonblocking(true)?;
    Ok(Box::new(UdpSocket::from_std(socket)?))
}
