//! What the replicas themselves report: that they are ready, and that each took part in the work.
//!
//! Must not know what was asked. A tier in which one replica did everything would pass all other checks.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Target;
use super::reading::excerpt;
use super::report::Report;
use crate::peers_page::PeersPage;
use murmuration_kit::client::Client;

/// How long replicas that are ready may take to meet, or to hear the last of each other; far longer than they need.
const MEETING_MAX: Duration = Duration::from_secs(15);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Each replica must be ready before the first request.
pub(super) async fn are_ready(target: &Target, report: &mut Report) {
    for &replica in &target.replicas {
        if let Err(why) = page(replica, "/readyz").await {
            report.fail(why);
        }
    }
}

/// Where replicas share what they know, each must see and follow all others before the first request. One that started
/// first is ready before it has met the last.
pub(super) async fn know_each_other(target: &Target, report: &mut Report) {
    let Some(replication) = &target.replication else { return };
    let all: BTreeSet<usize> = (0..target.replicas.len()).collect();
    for (number, &replica) in target.replicas.iter().enumerate() {
        let others = &all - &BTreeSet::from([number]);
        let deadline = Instant::now() + MEETING_MAX;
        loop {
            let seen = page(replica, "/debug/peers").await.map(|page| {
                PeersPage::read(&String::from_utf8_lossy(&page), replication.streams).unwrap_or_default().well
            });
            match seen {
                Ok(seen) if seen == others => break,
                Ok(_) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
                Ok(seen) => {
                    report.fail(format!("the replica at {replica} follows only {seen:?} of its peers {others:?}"));
                    break;
                }
                Err(why) => {
                    report.fail(why);
                    break;
                }
            }
        }
    }
}

/// Waits until all replicas believe the same, or for [`MEETING_MAX`]. What they then do is not judged here.
pub(super) async fn agree(target: &Target) {
    let streams = target.replication.as_ref().is_some_and(|replication| replication.streams);
    let deadline = Instant::now() + MEETING_MAX;
    loop {
        let mut digests = BTreeSet::new();
        for &replica in &target.replicas {
            let page = page(replica, "/debug/peers").await.ok();
            let page = page.and_then(|page| PeersPage::read(&String::from_utf8_lossy(&page), streams));
            digests.insert(page.map(|page| page.digest));
        }
        if digests.len() == 1 || Instant::now() >= deadline {
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// After the last request, each replica must have made a decision.
pub(super) async fn took_part(target: &Target, report: &mut Report) {
    for &replica in &target.replicas {
        let decisions = page(replica, "/debug/decisions").await.and_then(|page| {
            let decisions = serde_json::from_slice::<Vec<Value>>(&page);
            decisions.map_err(|why| {
                format!("GET /debug/decisions of {replica}: no list of decisions: {why}: {}", excerpt(&page))
            })
        });
        match decisions {
            Ok(decisions) if decisions.is_empty() => report.fail(format!(
                "the replica at {replica} decided nothing; does the proxy balance its streams over all replicas?"
            )),
            Ok(_) => {}
            Err(why) => report.fail(why),
        }
    }
}

async fn page(replica: SocketAddr, path: &str) -> Result<bytes::Bytes, String> {
    let answer = Client::new(replica).get(path).await.map_err(|error| error.to_string())?;
    if answer.status == StatusCode::OK {
        return Ok(answer.body);
    }
    Err(format!("GET {path} of {replica}: {}: {}", answer.status, String::from_utf8_lossy(&answer.body).trim_end()))
}
