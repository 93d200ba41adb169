//! Who carries bytes to others: connections and datagrams.
//!
//! Must not know names: what a name stands for is asked of the machine, and a world without names has addresses only.

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
    /// When nobody listens there, or there is no way.
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection>;

    /// A socket for datagrams at `at`.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    async fn bind(&self, at: SocketAddr) -> io::Result<Box<dyn Datagrams>>;
}

/// A socket for datagrams. Futures can be dropped at any await; a datagram may be lost then.
#[async_trait]
pub trait Datagrams: Debug + Send + Sync + 'static {
    /// Sends one; gives the bytes that went.
    ///
    /// # Errors
    /// When it was not sent; later ones may be.
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize>;

    /// Receives one; gives its length and who sent it.
    ///
    /// # Errors
    /// When the socket failed; it may recover.
    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)>;

    /// Where it is.
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

/// A socket that was bound before there was a runtime; to be called within one.
///
/// # Errors
/// When it can't be used by this runtime.
pub fn datagrams(socket: std::net::UdpSocket) -> io::Result<Box<dyn Datagrams>> {
    socket.set_nonblocking(true)?;
    Ok(Box::new(UdpSocket::from_std(socket)?))
}
