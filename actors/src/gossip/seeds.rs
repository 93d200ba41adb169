//! Resolves the names of seeds while a replica knows no peer, and contacts peers that the environment finds.
//!
//! Must not know the members beyond their addresses. chitchat resolves the seeds' names once a minute. Replicas
//! that start together, before their name resolves, would each form a tier of their own for that long.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::Server;
use crate::environment::PeerFeed;
use crate::replication::Members;

/// How often names are resolved while no peer is known.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// Most addresses of one name, or found by the environment, that are contacted.
const ADDRESSES_MAX: usize = 32;

/// While no peer is known, gossips with all addresses of the seeds that are names. Ends when the members' sender is
/// gone.
pub(super) async fn ask(
    seeds: Vec<String>,
    me: SocketAddr,
    server: Arc<Server>,
    mut members: watch::Receiver<Members>,
) {
    let names: Vec<String> = seeds.into_iter().filter(|seed| seed.parse::<SocketAddr>().is_err()).collect();
    while !names.is_empty() {
        sleep(RESOLVE_INTERVAL).await;
        if members.wait_for(Members::is_empty).await.is_err() {
            return;
        }
        for name in &names {
            // A name that doesn't resolve yet is expected here; chitchat reports it.
            let Ok(addresses) = lookup_host(name).await else { continue };
            addresses.take(ADDRESSES_MAX).filter(|address| *address != me).for_each(|address| server.push(address));
        }
    }
}

/// Gossips with the addresses in `found` at which no living member is: with new ones at once, and with all of them once a
/// second. So two halves of a tier that lost each other meet again. Ends when the feed's sender is gone.
pub(super) async fn follow(mut found: PeerFeed, me: SocketAddr, server: Arc<Server>) {
    loop {
        let living = server.living().await;
        let known: BTreeSet<SocketAddr> = living.others.iter().map(|(_, id)| id.gossip_advertise_addr).collect();
        let missing: BTreeSet<SocketAddr> = {
            let found = found.borrow_and_update();
            let missing = found.iter().flatten().copied().filter(|address| *address != me && !known.contains(address));
            missing.take(ADDRESSES_MAX).collect()
        };
        missing.into_iter().for_each(|address| server.push(address));
        tokio::select! {
            changed = found.changed() => if changed.is_err() { return },
            () = sleep(RESOLVE_INTERVAL) => {}
        }
    }
}
