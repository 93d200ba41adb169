//! Datagrams under way.
//!
//! Must not know what is in them. They are lost, late, and may pass each other.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use murmuration_actors::environment::Datagrams;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};

use super::Socketry;

/// Datagrams that wait in a socket; more are lost.
const WAITING_MAX: usize = 256;
/// Bytes of a datagram at most, as UDP has it.
const BYTES_MAX: usize = 65_507;

type Letter = (Bytes, SocketAddr);

/// What is under way, and who receives.
#[derive(Default)]
pub(super) struct Mail {
    flying: BTreeMap<(Duration, u64), (SocketAddr, Letter)>,
    boxes: BTreeMap<SocketAddr, Sender<Letter>>,
    sent: u64,
}

/// A socket.
pub(super) struct Post {
    socketry: Socketry,
    address: SocketAddr,
    letters: Mutex<Receiver<Letter>>,
}

// === impl Mail ===

impl Mail {
    /// A box at `address`, in the place of any other.
    pub(super) fn bind(&mut self, address: SocketAddr) -> Receiver<Letter> {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.boxes.insert(address, sender);
        receiver
    }

    pub(super) fn deliver(&mut self, now: Duration) {
        while let Some(first) = self.flying.first_entry().filter(|first| first.key().0 <= now) {
            let (to, letter) = first.remove();
            // A full box, and one that nobody looks into any more, loses it.
            let _ = self.boxes.get(&to).map(|letters| letters.try_send(letter));
        }
    }

    fn post(&mut self, due: Duration, to: SocketAddr, letter: Letter) {
        self.sent += 1;
        self.flying.insert((due, self.sent), (to, letter));
    }
}

// === impl Post ===

impl Post {
    pub(super) fn new(socketry: Socketry, address: SocketAddr, letters: Receiver<Letter>) -> Self {
        Self { socketry, address, letters: Mutex::new(letters) }
    }
}

#[async_trait]
impl Datagrams for Post {
    async fn send_to(&self, datagram: &[u8], to: SocketAddr) -> io::Result<usize> {
        if datagram.len() > BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the datagram is too long"));
        }
        let mut state = self.socketry.net.state();
        let Some(node) = state.node(to) else { return Ok(datagram.len()) };
        if let Some(delay) = state.way(self.socketry.node, node) {
            let (due, letter) = (state.now + delay, (Bytes::copy_from_slice(datagram), self.address));
            if let Some(later) = state.again(self.socketry.node, node) {
                state.mail.post(due + later, to, letter.clone());
            }
            state.mail.post(due, to, letter);
        }
        Ok(datagram.len())
    }

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let gone = || io::Error::other("the socket is gone");
        let (datagram, from) = self.letters.lock().await.recv().await.ok_or_else(gone)?;
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
