//! Tests of the network alone, without replicas.
#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_stream::StreamExt;

use super::*;
use crate::cluster::host::Host;
use crate::plan::ClusterSpec;

const TICK: Duration = Duration::from_millis(1);

/// Two nodes whose tasks run on one host.
struct Bench {
    net: Net,
    host: Host,
    now: Duration,
    received: Arc<Mutex<Vec<(u128, String)>>>,
}

impl Bench {
    fn new() -> Self {
        let net = Net::new(&ClusterSpec { replicas: 2, ..ClusterSpec::default() }, 7);
        Self { net, host: Host::new().unwrap(), now: Duration::ZERO, received: Arc::default() }
    }

    fn tick(&mut self, ticks: usize) {
        for _ in 0..ticks {
            self.now += TICK;
            self.net.advance(self.now);
            self.host.tick(TICK);
        }
    }

    fn address(&self, node: usize, port: u16) -> SocketAddr {
        (self.net.state().places.ip(node), port).into()
    }

    /// Node 1 records what it receives, and when. Node 0 sends `messages`, one each 10 ms.
    fn connect_and_send(&self, messages: &'static [&'static str]) {
        let mut listener = self.net.at(1).listen(80);
        let (to, caller, net) = (self.address(1, 80), self.net.at(0), self.net.clone());
        let received = self.received.clone();
        self.host.spawn(async move {
            let mut connection = listener.next().await.unwrap().unwrap();
            let mut buffer = [0; 64];
            loop {
                let read = connection.read(&mut buffer).await.unwrap();
                let now = net.state().now.as_millis();
                received.lock().unwrap().push((now, String::from_utf8_lossy(&buffer[..read]).into_owned()));
                if read == 0 {
                    return;
                }
            }
        });
        self.host.spawn(async move {
            let mut connection = caller.connect(to).await.unwrap();
            for message in messages {
                connection.write_all(message.as_bytes()).await.unwrap();
                sleep(Duration::from_millis(10)).await;
            }
        });
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().unwrap().iter().map(|(_, message)| message.clone()).collect()
    }
}

#[test]
fn bytes_arrive_in_order_and_then_the_end() {
    let mut bench = Bench::new();
    bench.connect_and_send(&["a", "b", "c"]);
    bench.tick(50);
    assert_eq!(bench.received(), ["a", "b", "c", ""]);
}

#[test]
fn zones_are_apart_also_after_a_fault() {
    let cluster = ClusterSpec { replicas: 3, zones: 2, zone_latency: TICK * 10, ..ClusterSpec::default() };
    let net = Net::new(&cluster, 7);
    net.relink(|links| links.change(&[0], &[1], true, |link| link.cut = true));
    net.relink(Links::heal);
    let way = |to| net.state().way(0, to).unwrap();
    assert!(way(1) > TICK * 10 && way(2) < TICK, "replicas 0 and 2 share a zone");
    let places = Places::new(&cluster);
    let (discovery, engine) = (places.discovery(), places.engine(1));
    assert!(way(discovery) < TICK && way(engine) > TICK * 10);
}

#[test]
fn a_cut_holds_bytes_and_loses_none() {
    let mut bench = Bench::new();
    bench.connect_and_send(&["a", "b", "c"]);
    bench.tick(8);
    bench.net.relink(|links| links.change(&[0], &[1], true, |link| link.cut = true));
    bench.tick(500);
    assert_eq!(bench.received(), ["a"]);
    bench.net.relink(Links::heal);
    bench.tick(10);
    assert_eq!(bench.received().concat(), "abc");
}

#[test]
fn loss_delays_bytes_and_keeps_their_order() {
    let mut bench = Bench::new();
    bench.connect_and_send(&["a", "b", "c", "d", "e", "f"]);
    bench.tick(8);
    bench.net.relink(|links| links.change(&[0], &[1], true, |link| link.loss = 0.5));
    bench.tick(30_000);
    assert_eq!(bench.received().concat(), "abcdef");
    assert!(bench.received.lock().unwrap().last().unwrap().0 > 200);
}

#[test]
fn connecting_without_a_listener_is_refused_and_over_a_cut_waits() {
    let mut bench = Bench::new();
    let outcome = Arc::new(Mutex::new(Vec::new()));
    let connect = |bench: &Bench, name: &'static str| {
        let (caller, to, outcome) = (bench.net.at(0), bench.address(1, 81), outcome.clone());
        bench.host.spawn(async move {
            let kind = caller.connect(to).await.map_err(|error| error.kind());
            outcome.lock().unwrap().push((name, kind.err()));
        });
    };
    connect(&bench, "whole");
    bench.tick(5);
    bench.net.relink(|links| links.change(&[1], &[0], false, |link| link.cut = true));
    connect(&bench, "cut");
    bench.tick(900);
    assert_eq!(*outcome.lock().unwrap(), [("whole", Some(io::ErrorKind::ConnectionRefused))]);
    bench.net.relink(Links::heal);
    bench.tick(200);
    assert_eq!(outcome.lock().unwrap().len(), 2);
}

#[test]
fn datagrams_over_a_cut_are_lost_for_ever() {
    let mut bench = Bench::new();
    let received = Arc::new(Mutex::new(Vec::new()));
    let (here, there, to) = (bench.net.at(0), bench.net.at(1), bench.address(1, 7));
    let (from, written) = (bench.address(0, 7), received.clone());
    bench.host.spawn(async move {
        let socket = there.bind(to).await.unwrap();
        let mut buffer = [0; 16];
        while let Ok((length, _)) = socket.recv_from(&mut buffer).await {
            written.lock().unwrap().extend_from_slice(&buffer[..length]);
        }
    });
    bench.host.spawn(async move {
        let socket = here.bind(from).await.unwrap();
        for message in [b"1", b"2", b"3"] {
            sleep(Duration::from_millis(10)).await;
            socket.send_to(message, to).await.unwrap();
        }
    });
    bench.tick(15);
    bench.net.relink(|links| links.change(&[0], &[1], false, |link| link.cut = true));
    bench.tick(10);
    bench.net.relink(Links::heal);
    bench.tick(20);
    assert_eq!(*received.lock().unwrap(), b"13");
}
