//! Handshakes that never end beside those that do.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use murmuration::event::Event;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::*;
use crate::connection::{Bounds, EventSink};
use crate::environment::{Acceptor, Listener};

/// Callers that all wait from the start.
struct Queue(VecDeque<(Connection, SocketAddr)>);

impl Acceptor for Queue {
    fn poll_accept(&mut self, _: &mut Context<'_>) -> Poll<io::Result<(Connection, SocketAddr)>> {
        self.0.pop_front().map_or(Poll::Pending, |next| Poll::Ready(Ok(next)))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(([127, 0, 0, 1], 1).into())
    }
}

/// Silent callers from these addresses, in this order. Returns which were closed, and how many reports of that came.
async fn displaced(most: usize, from: &[[u8; 4]]) -> (Vec<bool>, usize) {
    let (mut ends, mut queue): (Vec<DuplexStream>, VecDeque<(Connection, SocketAddr)>) = Default::default();
    for &address in from {
        let (here, there) = duplex(64);
        ends.push(here);
        queue.push_back((Connection::new(there), (address, 1).into()));
    }
    let reported = Arc::new(Mutex::new(0));
    let counter = reported.clone();
    let event_sink = EventSink::new("peers", move |event| {
        *counter.lock().unwrap() +=
            usize::from(matches!(event, Event::ConnectionClosed { why: "handshake-displaced", .. }));
    });
    let arrivals = Arrivals::new(Listener::new(Queue(queue)), Bounds { all: 1_000, of_one: 1_000 }, event_sink);
    let mut handshakes = Handshakes::new(arrivals, most, |connection: Connection, _| async move {
        let _held = connection;
        std::future::pending().await
    });
    assert!(timeout(Duration::from_secs(1), handshakes.next()).await.is_err());
    let mut gone = Vec::new();
    for end in &mut ends {
        gone.push(timeout(Duration::from_millis(1), end.read_u8()).await.is_ok());
    }
    let reported = *reported.lock().unwrap();
    (gone, reported)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_beyond_the_limit_of_its_address_displaces_the_oldest() {
    let one = [10, 0, 0, 1];
    let (gone, reported) = displaced(8, &[one, [10, 0, 0, 2], one, one, one]).await;
    assert_eq!(gone, [true, false, true, false, false]);
    assert_eq!(reported, 2);
}

#[tokio::test(start_paused = true)]
async fn when_all_places_are_taken_the_address_with_most_loses_its_oldest() {
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (gone, reported) = displaced(4, &[b, [10, 0, 0, 3], a, [10, 0, 0, 4], [10, 0, 0, 5]]).await;
    assert_eq!((gone.iter().filter(|gone| **gone).count(), reported), (1, 1));
    assert!(!gone[4], "the newest handshake stays");
}
