//! What replicas believe to be open: a prefill engine's share ends with the first token, all shares with their request.
//!
//! Must not know decisions.

use std::time::Duration;

use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::{Client, EventStream};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::super::report::Report;
use super::PdTarget;
use super::asked::{Asker, HANG};
use super::prompts;

/// Long prompts until every replica counts one at an engine that prefills.
const ATTEMPTS: usize = 5;
/// What is wrong where it was counted nowhere.
const NOT_COUNTED: &str = "its answer began before every replica counted its prompt";
/// How long replicas may take to learn of the end of a share.
const NEWS_MAX: Duration = Duration::from_secs(5);
/// How long all may take to know that nothing is open; a request that was given up ends when its engine notices.
const QUIET_MAX: Duration = Duration::from_secs(15);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What one replica believes to be open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    /// Requests on engines of the role that was asked for, those of peers included.
    requests: u64,
    /// Open tickets of its own.
    tickets: u64,
}

/// While an engine computes a long prompt for another one, every replica counts it there; once the answer has begun, none
/// does, though the answer still runs.
pub(super) async fn end_with_the_first_token(asker: &Asker<'_>, report: &mut Report) {
    let mut outcome = Ok(());
    for _ in 0..ATTEMPTS {
        outcome = one(asker.target).await;
        // Just then another way may have been cheaper.
        if outcome != Err(NOT_COUNTED.to_owned()) {
            break;
        }
    }
    if let Err(why) = outcome {
        report.fail(format!("the share of an engine that computes a prompt for another one: {why}"));
    }
}

async fn one(target: &PdTarget) -> Result<(), String> {
    let call = prompts::slow(&target.tier.model);
    let (client, headers) = (Client::new(target.tier.public), call.header_pairs());
    let mut begun = Box::pin(client.stream(&call.path, call.body.clone(), &headers));
    let counted = tokio::select! {
        biased;
        _ = &mut begun => return Err(NOT_COUNTED.to_owned()),
        counted = until(target, Some(Role::Prefill), NEWS_MAX, |open| open.requests > 0) => counted,
    };
    counted?;
    let stream = timeout(HANG, begun).await.map_err(|_| format!("its answer did not begin within {HANG:?}"))?;
    freed(target, &mut stream.map_err(|error| error.to_string())?).await
}

async fn freed(target: &PdTarget, stream: &mut EventStream<'_>) -> Result<(), String> {
    stream.next().await.map_err(|error| error.to_string())?.ok_or("its answer is empty")?;
    until(target, Some(Role::Prefill), NEWS_MAX, |open| open.requests == 0).await?;
    // Otherwise it may have been freed by the end of the answer.
    let more = stream.next().await.map_err(|error| error.to_string())?;
    more.map(drop).ok_or_else(|| "the answer ended before it was looked at".to_owned())
}

/// When nothing is asked any more, no replica may believe that something is open.
pub(super) async fn end_with_their_requests(target: &PdTarget, report: &mut Report) {
    if let Err(why) = until(target, None, QUIET_MAX, |open| open.requests == 0 && open.tickets == 0).await {
        report.fail(format!("after the last request: {why}"));
    }
}

/// Waits until all replicas believe what `wanted` says of the engines of a role, or of all.
async fn until(
    target: &PdTarget,
    role: Option<Role>,
    patience: Duration,
    wanted: impl Fn(&Open) -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        let mut all = Vec::new();
        for &replica in &target.tier.replicas {
            let answer = Client::new(replica).get("/debug/fleet").await.map_err(|error| error.to_string())?;
            let fleet =
                serde_json::from_slice(&answer.body).map_err(|why| format!("/debug/fleet of {replica}: {why}"))?;
            all.push(open(&fleet, &names(target, role)));
        }
        if all.iter().all(&wanted) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("within {patience:?} the replicas believed {all:?}"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn names(target: &PdTarget, role: Option<Role>) -> Vec<&str> {
    let engines = target.engines.iter().filter(|engine| role.is_none_or(|role| engine.role == role));
    engines.map(|engine| engine.name.as_str()).collect()
}

fn open(fleet: &Value, names: &[&str]) -> Open {
    let named = |one: &&Value| {
        let id = one["endpoint"]["id"].as_str().unwrap_or_default();
        names.iter().any(|name| id.rsplit('/').next() == Some(name))
    };
    let of = |one: &Value, whose: &str| one[whose]["requests"].as_u64().unwrap_or(u64::MAX / 4);
    let engines = fleet["endpoints"].as_array().into_iter().flatten().filter(named);
    let requests = engines.map(|one| of(one, "in_flight") + of(one, "foreign")).sum();
    Open { requests, tickets: fleet["tickets"]["open"].as_u64().unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_work_of_all_replicas_on_engines_of_a_role_is_summed() {
        let engine = |id: &str, own: u64, foreign: u64| json!({ "endpoint": { "id": id }, "in_flight": { "requests": own }, "foreign": { "requests": foreign } });
        let fleet = json!({
            "endpoints": [engine("testbed/prefill-0", 1, 2), engine("testbed/prefill-1", 0, 4), engine("testbed/decode-0", 8, 16)],
            "tickets": { "open": 9 },
        });
        assert_eq!(open(&fleet, &["prefill-0", "prefill-1"]), Open { requests: 7, tickets: 9 });
        assert_eq!(open(&json!({}), &["prefill-0"]).tickets, u64::MAX, "a page that can't be read is not clean");
    }
}
