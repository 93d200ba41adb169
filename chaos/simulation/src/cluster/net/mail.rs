//! Datagrams in transit.
//!
//! Must not know their content. Datagrams may be lost, late, duplicated or reordered.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use murmuration_actors::environment::Datagrams;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::NodeNetwork;

/// Datagrams that wait in the buffer of a socket; more are lost.
const WAITING_MAX: usize = 256;
/// The largest datagram, in bytes, as in UDP.
const BYTES_MAX: usize = 65_507;

type Datagram = (Bytes, SocketAddr);

/// Datagrams in transit by due time and number, and the bound sockets.
#[derive(Default)]
pub(super) struct Mail {
    in_transit: BTreeMap<(Duration, u64), (SocketAddr, Datagram)>,
    sockets: BTreeMap<SocketAddr, Sender<Datagram>>,
    sent: u64,
}

/// A bound socket.
pub(super) struct Post {
    network: NodeNetwork,
    address: SocketAddr,
    received: Mutex<Receiver<Datagram>>,
}

// === impl Mail ===

impl Mail {
    /// Binds a socket at `address`, and replaces the one that was bound there.
    pub(super) fn bind(&mut self, address: SocketAddr) -> Receiver<Datagram> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.sockets.insert(address, sender);
        receiver
    }

    pub(super) fn deliver(&mut self, now: Duration) {
        while let Some(first) = self.in_transit.first_entry().filter(|first| first.key().0 <= now) {
            let (to, datagram) = first.remove();
            // A datagram for a full or closed socket is lost.
            let _ = self.sockets.get(&to).map(|socket| socket.try_send(datagram));
        }
    }

    fn enqueue(&mut self, due: Duration, to: SocketAddr, datagram: Datagram) {
        self.sent += 1;
        self.in_transit.insert((due, self.sent), (to, datagram));
    }
}

// === impl Post ===

impl Post {
    pub(super) fn new(network: NodeNetwork, address: SocketAddr, received: Receiver<Datagram>) -> Self {
        Self { network, address, received: Mutex::new(received) }
    }
}

#[async_trait]
impl Datagrams for Post {
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if datagram.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the datagram is too long"));
        }
        let mut state = self.network.net.state();
        let Some(node) = state.node(to) else { return Ok(datagram.len()) };
        if let Some(delay) = state.way(self.network.node, node) {
            let (due, addressed) = (state.now + delay, (Bytes::copy_from_slice(datagram), self.address));
            if let Some(later) = state.again(self.network.node, node) {
                state.mail.enqueue(due + later, to, addressed.clone());
            }
            state.mail.enqueue(due, to, addressed);
        }
        Ok(datagram.len())
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let gone = || io::Error::other("the socket is gone");
        let (datagram, from) = self.received.lock().await.recv().await.ok_or_else(gone)?;
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Ok((length, from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl std::fmt::Debug for Post {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Post").field("address", &self.address).finish_non_exhaustive()
    }
}
