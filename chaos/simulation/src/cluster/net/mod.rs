//! The cluster's network in virtual time: connections that survive loss as TCP does, and datagrams that do not.
//!
//! Must not know protocols. Bytes written in one tick arrive at the beginning of a later one. Their order follows from
//! the order of writes and from the network's own random numbers, so a run does not depend on the order of polls. A
//! connection over a cut link stalls, and continues when the link is restored. A datagram over a cut link is lost.

mod links;
mod mail;
mod pipe;
mod places;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use murmuration::chance::Chance;
use murmuration_actors::environment::{Acceptor, Connection, Datagrams, Listener, Network};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::sleep;

use crate::plan::ClusterSpec;

pub(in crate::cluster) use links::{Link, Links};
use mail::{Mail, Post};
use pipe::{Pipes, Stream};
pub(in crate::cluster) use places::Places;

/// How long an unanswered connection attempt waits before its first retry; doubled each time, as in TCP.
const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// The network. Cheap to clone.
#[derive(Clone)]
pub(in crate::cluster) struct Net(Arc<Mutex<State>>);

struct State {
    now: Duration,
    places: Places,
    links: Links,
    chance: Chance,
    listeners: BTreeMap<SocketAddr, UnboundedSender<(Connection, SocketAddr)>>,
    pipes: Pipes,
    mail: Mail,
    next_port: u16,
}

/// The network as one node sees it.
#[derive(Clone)]
pub(in crate::cluster) struct NodeNetwork {
    net: Net,
    /// The node.
    node: usize,
}

/// Incoming connections at one address.
struct Incoming {
    address: SocketAddr,
    connections: UnboundedReceiver<(Connection, SocketAddr)>,
}

// === impl Net ===

impl Net {
    /// The network of this cluster; its random numbers follow from `seed`.
    pub(in crate::cluster) fn new(cluster: &ClusterSpec, seed: u64) -> Self {
        let places = Places::new(cluster);
        let links = Links::new(places.count(), |node| places.zone(node, cluster), cluster.zone_latency);
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            places,
            links,
            chance: Chance::from_seed(seed),
            listeners: BTreeMap::new(),
            pipes: Pipes::default(),
            mail: Mail::default(),
            next_port: 20_000,
        })))
    }

    /// The network as `node` sees it.
    pub(in crate::cluster) fn at(&self, node: usize) -> NodeNetwork {
        NodeNetwork { net: self.clone(), node }
    }

    /// Sets the time to `now` and delivers everything that is due.
    pub(in crate::cluster) fn advance(&self, now: Duration) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        state.now = now;
        let State { pipes, mail, links, .. } = &mut *state;
        pipes.deliver(now, links, &mut wakers);
        mail.deliver(now);
        drop(state);
        // Wake without the lock: a woken task may be dropped, and dropping its connections takes the lock.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Changes the links between nodes.
    pub(in crate::cluster) fn relink(&self, change: impl FnOnce(&mut Links)) {
        change(&mut self.state().links);
    }

    /// Whether the link between two nodes is not cut; loss is not considered.
    pub(in crate::cluster) fn open(&self, from: usize, to: usize) -> bool {
        !self.state().links.get(from, to).cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A poisoned lock is safe to use: each change is complete before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// The latency of a packet sent now; `None` if it is lost.
    fn way(&mut self, from: usize, to: usize) -> Option<Duration> {
        self.links.get(from, to).draw(&mut self.chance)
    }

    /// How much later a datagram sent now arrives a second time; `None` if it does not.
    fn again(&mut self, from: usize, to: usize) -> Option<Duration> {
        self.links.get(from, to).again(&mut self.chance)
    }

    fn node(&self, address: SocketAddr) -> Option<usize> {
        self.places.node(address.ip())
    }
}

// === impl NodeNetwork ===

impl NodeNetwork {
    /// Opens a listener at `port`; an earlier one there gets no more connections.
    pub(in crate::cluster) fn listen(&self, port: u16) -> Listener {
        let ip = self.net.state().places.ip(self.node);
        self.listen_at(SocketAddr::new(ip, port))
    }

    /// Opens a listener at `address`; an earlier one there gets no more connections.
    pub(in crate::cluster) fn listen_at(&self, address: SocketAddr) -> Listener {
        let mut state = self.net.state();
        let (sender, connections) = mpsc::unbounded_channel();
        state.listeners.insert(address, sender);
        drop(state);
        Listener::new(Incoming { address, connections })
    }

    /// The round-trip time to a node; `None` if either packet is lost.
    fn round_trip(&self, to: usize) -> Option<Duration> {
        let mut state = self.net.state();
        let (there, back) = (state.way(self.node, to), state.way(to, self.node));
        Some(there? + back?)
    }
}

#[async_trait]
impl Network for NodeNetwork {
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let unknown = || io::Error::new(io::ErrorKind::NetworkUnreachable, format!("no host has the address {to}"));
        let node = self.net.state().node(to).ok_or_else(unknown)?;
        let mut again = CONNECT_RETRY;
        loop {
            if let Some(trip) = self.round_trip(node) {
                sleep(trip).await;
                break;
            }
            sleep(again).await;
            again *= 2;
        }
        let mut state = self.net.state();
        let from = SocketAddr::new(state.places.ip(self.node), state.next_port);
        state.next_port = state.next_port.checked_add(1).unwrap_or(20_000);
        let (here, there) = state.pipes.connect(self.node, node);
        let (here, there) = (Stream::new(self.net.clone(), here), Stream::new(self.net.clone(), there));
        let listener = state.listeners.get(&to).cloned();
        drop(state);
        match listener.map(|listener| listener.send((Connection::new(there), from))) {
            Some(Ok(())) => Ok(Connection::new(here)),
            _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("no listener at {to}"))),
        }
    }

    async fn bind(&self, at: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let received = self.net.state().mail.bind(at);
        Ok(Box::new(Post::new(self.clone(), at, received)))
    }
}

impl std::fmt::Debug for NodeNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeNetwork").field("node", &self.node).finish_non_exhaustive()
    }
}

// === impl Incoming ===

impl Acceptor for Incoming {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        // The network holds the sender until another listener takes this address; then no connection arrives here.
        match self.connections.poll_recv(cx) {
            Poll::Ready(Some(connection)) => Poll::Ready(Ok(connection)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests;
