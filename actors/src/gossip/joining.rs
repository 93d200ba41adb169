//! As which incarnation a lane starts: above all that anybody remembers of its name, whatever this machine's clock says.
//!
//! Must not know chitchat, nor what is said later: a replica asks before it says its first word.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use murmuration::id::Incarnation;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::link::{Came, Link};

/// How long the first answer is waited for. Who remembers nothing answers too, so this passes only where nobody is.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long others are waited for once one answered.
const GRACE: Duration = Duration::from_millis(20);
/// How often all are asked.
const ASKED: u32 = 3;
/// Addresses that are asked.
const ADDRESSES_MAX: usize = 64;
/// Bytes of a datagram at most.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// The incarnation to start as: that of `link`, or the next above what the replicas at `seeds` remember of this name.
pub(super) async fn agreed(link: &Link, seeds: &[String], me: SocketAddr) -> Incarnation {
    let mut deadline = Instant::now() + PATIENCE;
    let Ok(addresses) = timeout_at(deadline, resolved(seeds, me)).await else { return link.incarnation() };
    if addresses.is_empty() {
        return link.incarnation();
    }
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let (mut asked, mut next) = (0, Instant::now());
    loop {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => break,
            () = sleep_until(next), if asked < ASKED => {
                for address in &addresses {
                    link.hello(*address).await;
                }
                asked += 1;
                next = Instant::now() + PATIENCE / ASKED;
            }
            received = link.receive(&mut buffer) => {
                let Ok((length, from)) = received else { continue };
                // What others say already is lost, and said again once chitchat is there to hear it.
                if link.take(from, &buffer[..length]).await == Came::Token {
                    deadline = deadline.min(Instant::now() + GRACE);
                }
            }
        }
    }
    next_after(link.incarnation(), link.outlived())
}

/// The incarnation after `own` that is above `floor` too.
pub(super) fn next_after(own: Incarnation, floor: Option<Incarnation>) -> Incarnation {
    floor.map_or(own, |floor| own.max(Incarnation(floor.0 + 1)))
}

async fn resolved(seeds: &[String], me: SocketAddr) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for seed in seeds {
        match seed.parse() {
            Ok(address) => drop(addresses.insert(address)),
            // A name that doesn't resolve yet stands for nobody; chitchat tells of it.
            Err(_) => addresses.extend(lookup_host(seed).await.into_iter().flatten()),
        }
    }
    addresses.remove(&me);
    addresses.into_iter().take(ADDRESSES_MAX).collect()
}
