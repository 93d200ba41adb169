//! What the replicas themselves report: that they are ready, and that each took part in the work.
//!
//! Must not know what was asked. A tier in which one replica did everything would pass all other checks.

use std::net::SocketAddr;

use http::StatusCode;
use serde_json::Value;

use super::Target;
use super::reading::excerpt;
use super::report::Report;
use murmuration_kit::client::Client;

/// Each replica must be ready before the first request.
pub(super) async fn are_ready(target: &Target, report: &mut Report) {
    for &replica in &target.replicas {
        if let Err(why) = page(replica, "/readyz").await {
            report.fail(why);
        }
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
