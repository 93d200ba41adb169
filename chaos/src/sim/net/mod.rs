//! The town's network in virtual time: connections that survive loss as TCP does, and datagrams that do not.
//!
//! Must not know who talks about what. What is written in one tick arrives at the beginning of a later one, in an order that follows
//! from the order of writes and from the network's own dice; so a run does not depend on who is polled when. A connection over a way
//! that is cut stands still, and goes on when the way is whole again; a datagram is lost.

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
use murmuration_actors::environment::{Connection, Datagrams, Entrance, Listener, Network};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::time::sleep;

pub(in crate::sim) use links::{Link, Links};
use mail::{Mail, Post};
use pipe::{Pipes, Stream};
pub(in crate::sim) use places::Places;

/// How long a call that is not answered waits before it is made again; doubled each time, as TCP does.
const CALL_AGAIN: Duration = Duration::from_secs(1);

/// The network. Cheap to clone.
#[derive(Clone)]
pub(in crate::sim) struct Net(Arc<Mutex<State>>);

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

/// The network as one of the town sees it.
#[derive(Clone)]
pub(in crate::sim) struct Socketry {
    net: Net,
    /// Who.
    node: usize,
}

/// Callers at one address, as they come.
struct Callers {
    address: SocketAddr,
    calls: UnboundedReceiver<(Connection, SocketAddr)>,
}

// === impl Net ===

impl Net {
    /// A network of these places, whose dice follow from `seed`.
    pub(in crate::sim) fn new(places: Places, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Duration::ZERO,
            places,
            links: Links::new(places.count()),
            chance: Chance::from_seed(seed),
            listeners: BTreeMap::new(),
            pipes: Pipes::default(),
            mail: Mail::default(),
            next_port: 20_000,
        })))
    }

    /// The network as `node` sees it.
    pub(in crate::sim) fn at(&self, node: usize) -> Socketry {
        Socketry { net: self.clone(), node }
    }

    /// Time is `now`: whatever is due arrives.
    pub(in crate::sim) fn advance(&self, now: Duration) {
        let mut wakers = Vec::new();
        let mut state = self.state();
        state.now = now;
        let State { pipes, mail, links, .. } = &mut *state;
        pipes.deliver(now, links, &mut wakers);
        mail.deliver(now);
        drop(state);
        // Woken without the lock: a task that is woken may be dropped, and its connections with it.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Changes the ways between places.
    pub(in crate::sim) fn relink(&self, change: impl FnOnce(&mut Links)) {
        change(&mut self.state().links);
    }

    /// Whether something sent from one to another would arrive, cuts alone considered.
    pub(in crate::sim) fn open(&self, from: usize, to: usize) -> bool {
        !self.state().links.get(from, to).cut
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is whole before anything in it can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// How long something sent now takes; `None` when it is lost.
    fn way(&mut self, from: usize, to: usize) -> Option<Duration> {
        self.links.get(from, to).draw(&mut self.chance)
    }

    /// How much later a datagram sent now arrives a second time; `None` when it does not.
    fn again(&mut self, from: usize, to: usize) -> Option<Duration> {
        self.links.get(from, to).again(&mut self.chance)
    }

    fn node(&self, address: SocketAddr) -> Option<usize> {
        self.places.node(address.ip())
    }
}

// === impl Socketry ===

impl Socketry {
    /// Opens a listener at `port`; whoever had it before is not called any more.
    pub(in crate::sim) fn listen(&self, port: u16) -> Listener {
        let ip = self.net.state().places.ip(self.node);
        self.listen_at(SocketAddr::new(ip, port))
    }

    /// Opens a listener at an address of its own; whoever had it before is not called any more.
    pub(in crate::sim) fn listen_at(&self, address: SocketAddr) -> Listener {
        let mut state = self.net.state();
        let (sender, calls) = mpsc::unbounded_channel();
        state.listeners.insert(address, sender);
        drop(state);
        Listener::new(Callers { address, calls })
    }

    /// How long there and back takes; `None` when either is lost.
    fn round_trip(&self, to: usize) -> Option<Duration> {
        let mut state = self.net.state();
        let (there, back) = (state.way(self.node, to), state.way(to, self.node));
        Some(there? + back?)
    }
}

#[async_trait]
impl Network for Socketry {
    async fn connect(&self, to: SocketAddr) -> io::Result<Connection> {
        let unknown = || io::Error::new(io::ErrorKind::NetworkUnreachable, format!("nobody lives at {to}"));
        let node = self.net.state().node(to).ok_or_else(unknown)?;
        let mut again = CALL_AGAIN;
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
            _ => Err(io::Error::new(io::ErrorKind::ConnectionRefused, format!("nobody listens at {to}"))),
        }
    }

    async fn bind(&self, at: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        let letters = self.net.state().mail.bind(at);
        Ok(Box::new(Post::new(self.clone(), at, letters)))
    }
}

impl std::fmt::Debug for Socketry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socketry").field("node", &self.node).finish_non_exhaustive()
    }
}

// === impl Callers ===

impl Entrance for Callers {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        // The net holds the other end until somebody else listens here; then nobody calls here any more.
        match self.calls.poll_recv(cx) {
            Poll::Ready(Some(call)) => Poll::Ready(Ok(call)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

#[cfg(test)]
mod tests;
