//! Accepts the connections of one port, within a limit for the port and for each client address.
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

/// How long accepting pauses after an error. The most common cause is a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections a port accepts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// In total.
    pub(crate) all: usize,
    /// From one address: an IPv4 address, or the 64 bits of an IPv6 address that name its network.
    pub(crate) of_one: usize,
}

/// The accepted connections.
pub(crate) struct Arrivals {
    listener: Listener,
    slots: Slots,
    event_sink: EventSink,
    pause: Option<Pin<Box<Sleep>>>,
}

/// The slots in use, counted by address.
#[derive(Clone, Debug)]
struct Slots {
    bounds: Bounds,
    taken: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

/// One connection's slot; freed when dropped.
struct Slot {
    slots: Slots,
    address: IpAddr,
}

/// The address that counts as one caller: an IPv4 address, or the /64 network of an IPv6 address.
pub(crate) fn caller(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Whether the caller gave up before its connection was accepted. Such an error does not concern the next connection.
fn is_callers_abort(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

// === impl Arrivals ===

impl Arrivals {
    /// Accepts connections of `listener` within `bounds`. `event_sink` receives an event for each connection that is
    /// rejected.
    pub(crate) fn new(listener: Listener, bounds: Bounds, event_sink: EventSink) -> Self {
        Self { listener, slots: Slots { bounds, taken: Arc::default() }, event_sink, pause: None }
    }

    /// The next connection and its caller's address. It holds its slot until it is dropped.
    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<(Connection, SocketAddr)> {
        loop {
            if let Some(pause) = &mut self.pause {
                if pause.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.pause = None;
            }
            match self.listener.poll_accept(cx) {
                Poll::Ready(Ok((connection, from))) => match self.slots.take(from.ip()) {
                    Ok(slot) => return Poll::Ready((connection.holding(slot), from)),
                    Err(why) => self.event_sink.closed(why),
                },
                Poll::Ready(Err(error)) if is_callers_abort(&error) => {}
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
        self.get_mut().poll_accept(cx).map(|(connection, _)| Some(Ok(connection)))
    }
}

// === impl Slots ===

impl Slots {
    fn take(&self, from: IpAddr) -> Result<Slot, &'static str> {
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
        Ok(Slot { slots: self.clone(), address })
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
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

    fn slots(all: usize, of_one: usize) -> Slots {
        Slots { bounds: Bounds { all, of_one }, taken: Arc::default() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_can_not_take_the_slots_of_others() {
        let slots = slots(4, 2);
        let held: Vec<Slot> = ["10.0.0.1", "::ffff:10.0.0.1"].map(|one| slots.take(ip(one)).unwrap()).into();
        assert_eq!(slots.take(ip("10.0.0.1")).err(), Some("address-full"));
        let others: Vec<Slot> = ["fd00::1", "fd00::2"].map(|one| slots.take(ip(one)).unwrap()).into();
        assert_eq!(slots.take(ip("10.0.0.2")).err(), Some("full"));
        drop(others);
        assert_eq!(slots.take(ip("fd00::3")).err(), None);
        drop(held);
        assert!(slots.taken().is_empty(), "closed connections leave no entry");
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        assert_eq!(caller(ip("2001:db8:0:1::7")), caller(ip("2001:db8:0:1:ffff::")));
        assert_ne!(caller(ip("2001:db8:0:1::7")), caller(ip("2001:db8:0:2::7")));
    }
}
