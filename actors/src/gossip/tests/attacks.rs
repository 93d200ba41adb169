//! Attackers who record datagrams or hold the key, and what they can't do.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::time::Timestamp;

use super::super::envelope::{Content, Datagram, Envelope};
use super::super::keyring::Keyring;
use super::super::sessions::{Sessions, Verdict};
use super::super::tokens::Tokens;
use super::IGNORED;
use super::node::{Keys, Node, Plan, share, until};

/// A datagram of `name` that proves no freshness.
pub(super) fn word(name: &str, part: &[u8]) -> Datagram {
    let content = Content::Message { from: ReplicaId(name.into()), incarnation: Incarnation(1), part: part.to_vec() };
    Datagram { boot: [7; 16], number: 0, echo: [0; 16], token: [9; 16], content }
}

/// Holds the tier's key, and sends arbitrary messages.
struct Insider {
    socket: UdpSocket,
    envelope: Envelope,
    sessions: Sessions,
}

impl Insider {
    fn new(name: &str, keys: Option<&str>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let envelope = Envelope::new("tier", keys.map(|keys| Keyring::parse(keys).unwrap()));
        let tokens = Tokens::new([3; 32], Duration::from_millis(50));
        let boot = [socket.local_addr().unwrap().port() as u8; 16];
        Self { socket, envelope, sessions: Sessions::new(ReplicaId(name.into()), Incarnation(1), boot, tokens) }
    }

    /// Sends `message`, a whole message of chitchat's, from an address that is proven.
    fn send(&mut self, to: SocketAddr, message: &[u8]) {
        let part = [&[0], message].concat();
        self.put(to, &part);
        let mut buffer = [0; 1 << 16];
        while let Ok((length, from)) = self.socket.recv_from(&mut buffer) {
            let Some(datagram) = self.envelope.open(&buffer[..length]) else { continue };
            if self.sessions.judge(from, datagram, Timestamp::ZERO) == Verdict::Done {
                self.put(to, &part);
                return;
            }
        }
    }

    fn put(&mut self, to: SocketAddr, part: &[u8]) {
        let datagram = self.sessions.message(to, part, Timestamp::ZERO);
        self.socket.send_to(&self.envelope.wrap(&datagram).unwrap(), to).unwrap();
    }
}

/// Carries datagrams between one replica and `to`, and records those to `to`.
struct Recorder {
    address: SocketAddr,
    socket: UdpSocket,
    recorded: Arc<Mutex<Vec<Vec<u8>>>>,
    over: Arc<AtomicBool>,
}

impl Recorder {
    fn between(to: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let (recorded, over): (Arc<Mutex<Vec<Vec<u8>>>>, _) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (carrier, notes, ends) = (socket.try_clone().unwrap(), recorded.clone(), over.clone());
        std::thread::spawn(move || {
            let (mut buffer, mut other) = ([0; 1 << 16], None);
            while !ends.load(Ordering::Relaxed) {
                let Ok((length, from)) = carrier.recv_from(&mut buffer) else { continue };
                if from == to {
                    other.into_iter().for_each(|other: SocketAddr| drop(carrier.send_to(&buffer[..length], other)));
                } else {
                    other = Some(from);
                    notes.lock().unwrap().push(buffer[..length].to_vec());
                    let _ = carrier.send_to(&buffer[..length], to);
                }
            }
        });
        Self { address: socket.local_addr().unwrap(), socket, recorded, over }
    }

    /// Sends the recordings to `to` from `socket`; returns the bytes sent and the bytes received.
    fn replay(&self, socket: &UdpSocket, to: SocketAddr) -> (usize, usize) {
        let (mut sent, mut came, mut buffer) = (0, 0, [0; 1 << 16]);
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        for datagram in self.recorded.lock().unwrap().iter() {
            sent += socket.send_to(datagram, to).unwrap();
            while let Ok((length, _)) = socket.recv_from(&mut buffer) {
                came += length;
            }
        }
        (sent, came)
    }
}

/// A regression: recordings of a dead replica revived it, and one datagram of 91 bytes brought 17 KB to any address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recordings_neither_revive_a_dead_replica_nor_amplify_traffic() {
    for keys in [Some(Keys::new("recorded", &[1])), None] {
        let plan = |name| keys.iter().fold(Plan::new(name), Plan::keys);
        let mut a = Node::start(plan("a")).await;
        let recorder = Recorder::between(a.address());
        let b = Node::start(plan("b").seed_at(recorder.address)).await;
        until("they meet", || a.names() == ["b"] && b.names() == ["a"]).await;
        b.publisher.publish([share(7, 30)]);
        assert_eq!(a.next_fact().await.facts[0].record, share(7, 30).0);
        drop(b);
        until("b is gone", || a.names().is_empty()).await;
        recorder.over.store(true, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..3 {
            for socket in [&recorder.socket, &elsewhere] {
                let (sent, came) = recorder.replay(socket, a.address());
                assert!(sent > 1_000 && came <= sent, "{came} bytes came back for {sent}");
            }
        }
        let reasons = ["replayed", "stale"].map(|why| a.counted(IGNORED, &format!("reason=\"{why}\"")));
        assert!(reasons.iter().all(|count| *count > 0.0), "{reasons:?}");
        assert!(a.names().is_empty(), "it stays dead");
    }
}

/// A message of chitchat's with an impossible state of `name`, which chitchat itself does not survive.
fn impossible_message(name: &str, address: SocketAddr) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u16).to_le_bytes(), text.as_bytes()].concat();
    let number = |number: u64| number.to_le_bytes().to_vec();
    let host = [&[4, 127, 0, 0, 1][..], &address.port().to_le_bytes()].concat();
    let node = [vec![0], text(name), number(1), host, number(0), number(0)].concat();
    let value = [vec![1], text("f0"), text(""), number(1_000), vec![0]].concat();
    let highest = [vec![2], number(500)].concat();
    let operations = [node, value, highest].concat();
    let block = [&[2][..], &(operations.len() as u16).to_le_bytes(), &operations, &[0]].concat();
    [&45_139_u16.to_le_bytes()[..], &[0, 2], &block].concat()
}

/// One datagram of 59 KB that inflates to hundreds of megabytes.
fn bomb() -> Vec<u8> {
    let zeros = zstd::bulk::compress(&vec![0; usize::from(u16::MAX)], 19).unwrap();
    let block = [&[1][..], &(zeros.len() as u16).to_le_bytes(), &zeros].concat();
    [&45_139_u16.to_le_bytes()[..], &[0, 2], &block.repeat(59_000 / block.len()), &[0]].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_from_a_key_holder_neither_ends_the_lane_nor_fills_memory() {
    let keys = Keys::new("insider", &[1]);
    for sealed in [true, false] {
        let plan = |name| if sealed { Plan::new(name).keys(&keys) } else { Plan::new(name) };
        let a = Node::start(plan("a")).await;
        let mut b = Node::start(plan("b").seed(&a)).await;
        until("they meet", || a.names() == ["b"]).await;
        let text = sealed.then(|| keys.text());
        let mut insider = Insider::new("insider", text.as_deref());
        insider.send(a.address(), &impossible_message("b", b.address()));
        until("it is counted", || a.counted(IGNORED, "reason=\"impossible\"") > 0.0).await;
        insider.send(a.address(), &bomb());
        until("it is counted", || a.counted(IGNORED, "reason=\"too-large\"") > 0.0).await;
        a.publisher.publish([share(7, 1)]);
        assert_eq!(b.next_fact().await.facts[0].record, share(7, 1).0);
        assert_eq!(a.incarnation(), 1, "the lane never ended");
    }
}
