//! Connections as they come in at one port, no more of them than there is room for.
//!
//! Must not know what is served on them, or whether they are encrypted.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;

use super::event_sink::EventSink;
use crate::environment::{Connection, Listener};

/// How long accepting pauses after it failed, which is most often for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections a port takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// In all.
    pub(crate) all: usize,
    /// From one address: an IPv4 address, or the 64 bits of an IPv6 address that name its network.
    pub(crate) of_one: usize,
}

/// The connections.
pub(crate) struct Arrivals {
    listener: Listener,
    places: Places,
    event_sink: EventSink,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Who is there, by address.
#[derive(Clone, Debug)]
struct Places {
    bounds: Bounds,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// A connection's place; free again when dropped.
struct Place {
    places: Places,
    address: IpAddr,
}

/// The address that counts as one caller.
pub(crate) fn caller(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Whether the caller gave up before it was let in, which says nothing of the next one.
fn is_the_callers(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

// === impl Arrivals ===

impl Arrivals {
    /// Connections of `listener` within `bounds`; `event_sink` hears of those that found no room.
    pub(crate) fn new(listener: Listener, bounds: Bounds, event_sink: EventSink) -> Self {
        Self { listener, places: Places { bounds, taken: Arc::default() }, event_sink, pause: None }
    }

    /// The next connection, and who called. It holds its place until it is dropped.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Connection, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok((wire, from))) => match self.places.take(from.ip()) {
                    Ok(place) => return Poll::Ready((wire.holding(place), from)),
                    Err(why) => self.event_sink.closed(why),
                },
                Poll::Ready(Err(error)) if is_the_callers(&error) => {}
                Poll::Ready(Err(_)) => self.pause = Some(Box::pin(sleep(ACCEPT_PAUSE))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.address()
    }

    pub(crate) fn event_sink(&self) -> &EventSink {
        &self.event_sink
    }
}

impl Stream for Arrivals {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_accept(cx).map(|(wire, _)| Some(Ok(wire)))
    }
}

// === impl Places ===

impl Places {
    fn take(&self, from: IpAddr) -> Result<Place, &'static str> {
        let (address, mut taken) = (caller(from), self.taken());
        let all: usize = taken.values().sum();
        let of_one = taken.get(&address).copied().unwrap_or(0);
        if all >= self.bounds.all {
            return Err("full");
        }
        if of_one >= self.bounds.of_one {
            return Err("address-full");
        }
        taken.insert(address, of_one + 1);
        Ok(Place { places: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match taken.get_mut(&self.address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.address)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn places(all: usize, of_one: usize) -> Places {
        Places { bounds: Bounds { all, of_one }, taken: Arc::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_can_not_take_the_places_of_others() {
        let places = places(4, 2);
        let held: Vec<Place> = ["10.0.0.1", "::ffff:10.0.0.1"].map(|one| places.take(ip(one)).unwrap()).into();
        assert_eq!(places.take(ip("10.0.0.1")).err(), Some("address-full"));
        let others: Vec<Place> = ["fd00::1", "fd00::2"].map(|one| places.take(ip(one)).unwrap()).into();
        assert_eq!(places.take(ip("10.0.0.2")).err(), Some("full"));
        drop(others);
        assert_eq!(places.take(ip("fd00::3")).err(), None);
        drop(held);
        assert!(places.taken().is_empty(), "who left is forgotten");
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller() {
        assert_eq!(caller(ip("2001:db8:0:1::7")), caller(ip("2001:db8:0:1:ffff::")));
        assert_ne!(caller(ip("2001:db8:0:1::7")), caller(ip("2001:db8:0:2::7")));
    }
}
