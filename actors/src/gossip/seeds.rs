//! Seeds for a lonely replica.
//!
//! Must not know who lives beyond whether anybody does. chitchat resolves the seeds' names once a minute; replicas that are
//! born together, before their name resolves, would each be a tier of its own for that long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::sync::watch;
use tokio::time::sleep;

use super::server::Server;
use crate::replication::Members;

/// How often names are resolved while nobody else is known.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// Addresses of one name that are asked.
const ADDRESSES_MAX: usize = 32;

/// While nobody else is known, gossips with whomever the seeds that are names stand for; for ever.
pub(super) async fn ask(
    seeds: Vec<String>,
    me: SocketAddr,
    server: Arc<Server>,
    mut members: watch::Receiver<Members>,
) {
    let names: Vec<String> = seeds.into_iter().filter(|seed| seed.parse::<SocketAddr>().is_err()).collect();
    while !names.is_empty() {
        sleep(ASK_EVERY).await;
        if members.wait_for(Members::is_empty).await.is_err() {
            return;
        }
        for name in &names {
            // A name that doesn't resolve yet is what this is for; chitchat tells of it.
            let Ok(addresses) = lookup_host(name).await else { continue };
            addresses.take(ADDRESSES_MAX).filter(|address| *address != me).for_each(|address| server.push(address));
        }
    }
}
