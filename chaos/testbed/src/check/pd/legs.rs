//! What engines did for a request, compared with what the picker decided.
//!
//! Must not know answers. Each emulated engine lists its last requests with their ids.

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::Client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{PdEngine, PdTarget};

/// How long a replica may take to list a decision.
const LISTED_MAX: Duration = Duration::from_secs(5);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The engines of a request, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Legs {
    pub(super) decode: String,
    pub(super) prefill: Option<String>,
    pub(super) encode: Option<String>,
}

/// What one engine did for a request or a part of it.
#[derive(Clone, Debug, PartialEq)]
struct Ran {
    engine: String,
    /// The id of the engine's process.
    process: Value,
    /// As the engine lists it.
    served: Value,
}

/// The legs of the request with this id, which engines of their roles must have run as it was decided.
///
/// # Errors
/// The end of a sentence about what does not fit.
pub(super) async fn compare(target: &PdTarget, id: &str) -> Result<Legs, String> {
    let decision = decision(target, id).await?;
    let legs = decided(&decision)?;
    let mut ran = Vec::new();
    for engine in &target.engines {
        ran.extend(on(engine, id).await?);
    }
    roles_fit(&target.engines, &legs)?;
    fits(&legs, &ran, id).map_err(|why| format!("{why}; decided was {legs:?}")).map(|()| legs)
}

async fn on(engine: &PdEngine, id: &str) -> Result<Vec<Ran>, String> {
    let page = page(engine.address, "/chaos/requests").await?;
    let of_it = |served: &&Value| {
        let named = served["request_id"].as_str().unwrap_or_default();
        named.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with("-enc-"))
    };
    let listed = page["requests"].as_array().into_iter().flatten().filter(of_it);
    let ran = |served: &Value| Ran {
        engine: engine.name.clone(),
        process: page["engine_id"].clone(),
        served: served.clone(),
    };
    Ok(listed.map(ran).collect())
}

/// The decision on a request, from the replica that made it.
async fn decision(target: &PdTarget, id: &str) -> Result<Value, String> {
    let deadline = Instant::now() + LISTED_MAX;
    loop {
        for &replica in &target.tier.replicas {
            if let Ok(decision) = page(replica, &format!("/debug/decisions/{id}")).await {
                return Ok(decision);
            }
        }
        if Instant::now() >= deadline {
            return Err("no replica lists its decision".to_owned());
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn page(at: SocketAddr, path: &str) -> Result<Value, String> {
    let answer = Client::new(at).get(path).await.map_err(|error| error.to_string())?;
    if !answer.status.is_success() {
        return Err(format!("GET {path} of {at}: {}", answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|why| format!("GET {path} of {at}: {why}"))
}

fn decided(decision: &Value) -> Result<Legs, String> {
    let mut legs = Legs::default();
    for leg in decision["legs"].as_array().into_iter().flatten() {
        let endpoint = leg["targets"][0]["endpoint"].as_str().and_then(|id| id.rsplit('/').next());
        let engine = endpoint.ok_or_else(|| format!("a leg has no endpoint: {leg}"))?.to_owned();
        match leg["stage"].as_str() {
            Some("decode") => legs.decode = engine,
            Some("prefill") => legs.prefill = Some(engine),
            Some("encode") => legs.encode = Some(engine),
            other => return Err(format!("a leg of the stage {other:?}")),
        }
    }
    if legs.decode.is_empty() { Err("no leg decodes".to_owned()) } else { Ok(legs) }
}

fn roles_fit(engines: &[PdEngine], legs: &Legs) -> Result<(), String> {
    let stages = [
        (Some(&legs.decode), Role::Decode),
        (legs.prefill.as_ref(), Role::Prefill),
        (legs.encode.as_ref(), Role::Encode),
    ];
    for (name, role) in stages {
        let Some(name) = name else { continue };
        if !engines.iter().any(|engine| engine.name == *name && (engine.role == role || engine.role == Role::Both)) {
            return Err(format!("{name} was chosen to {}", role.label()));
        }
    }
    Ok(())
}

/// Whether engines did what was decided, and no engine did anything else.
fn fits(legs: &Legs, ran: &[Ran], id: &str) -> Result<(), String> {
    let main: Vec<&Ran> = ran.iter().filter(|ran| ran.served["request_id"] == id).collect();
    let encoded: Vec<&Ran> = ran.iter().filter(|ran| ran.served["request_id"] != id).collect();
    let due: Vec<&String> = legs.prefill.iter().chain([&legs.decode]).collect();
    let mut reached: Vec<&String> = main.iter().map(|ran| &ran.engine).collect();
    reached.sort_by_key(|name| due.iter().position(|due| due == name));
    if reached != due {
        return Err(format!("it ran on {reached:?}"));
    }
    let find = |name: &String| main.iter().find(|ran| ran.engine == *name).copied();
    let decode = find(&legs.decode).ok_or("it was not decoded")?;
    match legs.prefill.as_ref().and_then(find) {
        Some(prefill) => {
            if prefill.served["keeps"] != true {
                return Err(format!("{} kept no KV: {}", prefill.engine, prefill.served));
            }
            if decode.served["pulled_from"] != prefill.process {
                return Err(format!("{} has no KV of {}: {}", decode.engine, prefill.engine, decode.served));
            }
        }
        None if !decode.served["pulled_from"].is_null() => {
            return Err(format!("{} has KV of another engine: {}", decode.engine, decode.served));
        }
        None => {}
    }
    encoded_as_decided(legs, &main, &encoded)
}

fn encoded_as_decided(legs: &Legs, main: &[&Ran], encoded: &[&Ran]) -> Result<(), String> {
    if let Some(elsewhere) = encoded.iter().find(|ran| Some(&ran.engine) != legs.encode.as_ref()) {
        return Err(format!("{} encoded for it", elsewhere.engine));
    }
    if legs.encode.is_none() {
        return Ok(());
    }
    let count = |ran: &[&Ran], what: &str| ran.iter().filter_map(|ran| ran.served[what].as_u64()).sum::<u64>();
    if encoded.is_empty() || count(encoded, "encoded") + count(encoded, "loaded") == 0 {
        return Err("no image was encoded for it".to_owned());
    }
    if count(main, "encoded") > 0 || count(main, "loaded") == 0 {
        let served: Vec<&Value> = main.iter().map(|ran| &ran.served).collect();
        return Err(format!("the engine that computed its prompt did not load the embeddings: {served:?}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
