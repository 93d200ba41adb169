//! Chooses the incarnation that a lane starts as: above all that peers remember of its name, whatever this machine's
//! clock says.
//!
//! Must not know chitchat, or what is published later: a replica asks before it publishes anything.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use murmuration::id::Incarnation;
use tokio::net::lookup_host;
use tokio::time::{Instant, sleep_until};

use super::link::{Link, LinkInput};
use crate::environment::PeerFeed;

/// How long to wait for the first answer. Peers that remember nothing answer too, so this elapses only without peers.
const FIRST_ANSWER_WAIT: Duration = Duration::from_millis(300);
/// How long to wait for the environment to say where peers are.
const FOUND_WAIT: Duration = Duration::from_secs(2);
/// How long to wait for further answers after the first.
const GRACE: Duration = Duration::from_millis(20);
/// How many times all addresses are asked.
const ASK_ROUNDS: u32 = 3;
/// Most addresses that are asked.
const ADDRESSES_MAX: usize = 64;
/// Most bytes of a datagram.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// The incarnation to start as: that of `link`, or the next above what the replicas at `seeds`, and those that were
/// found, remember of this name.
pub(super) async fn agreed(link: &Link, (seeds, found): (&[String], Option<PeerFeed>), me: SocketAddr) -> Incarnation {
    let mut found = first(found).await;
    found.remove(&me);
    asked(link, found.into_iter().take(ADDRESSES_MAX).collect(), resolved(seeds, me)).await
}

/// The same of the replicas at `addresses`, and of those that `resolving` adds if it resolves in time. The former do
/// not wait for the latter: names of a slow server delay nothing.
pub(super) async fn asked(
    link: &Link,
    mut addresses: BTreeSet<SocketAddr>,
    resolving: impl Future<Output = BTreeSet<SocketAddr>>,
) -> Incarnation {
    let mut resolving = pin!(resolving);
    let mut resolved = false;
    let mut deadline = Instant::now() + FIRST_ANSWER_WAIT;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    let (mut asked, mut next) = (0, Instant::now());
    while !resolved || !addresses.is_empty() {
        tokio::select! {
            biased;
            () = sleep_until(deadline) => break,
            more = &mut resolving, if !resolved => {
                resolved = true;
                if !more.is_subset(&addresses) {
                    (asked, next) = (0, Instant::now());
                }
                addresses.extend(more);
            }
            () = sleep_until(next), if asked < ASK_ROUNDS => {
                for address in &addresses {
                    link.hello(*address).await;
                }
                asked += 1;
                next = Instant::now() + FIRST_ANSWER_WAIT / ASK_ROUNDS;
            }
            received = link.receive(&mut buffer) => {
                let Ok((length, from)) = received else { continue };
                // Other gossip is lost here, and sent again once chitchat runs.
                if link.take(from, &buffer[..length]).await == LinkInput::Token {
                    deadline = deadline.min(Instant::now() + GRACE);
                }
            }
        }
    }
    next_after(link.incarnation(), link.superseded_by())
}

/// `own`, or the incarnation after `floor` if that is higher.
pub(super) fn next_after(own: Incarnation, floor: Option<Incarnation>) -> Incarnation {
    floor.map_or(own, |floor| own.max(Incarnation(floor.0 + 1)))
}

/// The addresses that are found first; none where that takes too long.
async fn first(found: Option<PeerFeed>) -> BTreeSet<SocketAddr> {
    let Some(mut found) = found else { return BTreeSet::new() };
    let first = tokio::time::timeout(FOUND_WAIT, found.wait_for(Option::is_some)).await;
    first.ok().and_then(Result::ok).and_then(|found| found.clone()).unwrap_or_default()
}

async fn resolved(seeds: &[String], me: SocketAddr) -> BTreeSet<SocketAddr> {
    let mut addresses = BTreeSet::new();
    for seed in seeds {
        match seed.parse() {
            Ok(address) => drop(addresses.insert(address)),
            // A name that doesn't resolve yet has no addresses; chitchat reports it.
            Err(_) => addresses.extend(lookup_host(seed).await.into_iter().flatten()),
        }
    }
    addresses.remove(&me);
    addresses.into_iter().take(ADDRESSES_MAX).collect()
}
