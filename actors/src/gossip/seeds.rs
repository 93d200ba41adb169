//! Resolves the names of seeds while a replica knows no peer.
//!
//! Must not know the members beyond whether there are any. chitchat resolves the seeds' names once a minute. Replicas
//! that start together, before their name resolves, would each form a tier of their own for that long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::Server;
use crate::replication::Members;

/// How often names are resolved while no peer is known.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(1);
/// Most addresses of one name that are contacted.
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
