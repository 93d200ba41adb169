//! The checker behind `testbed --check`: a fixed mixed workload through Envoy, and a verdict on every answer.
//!
//! Must not know how a tier is started. `workload` defines the requests, `client_request` sends them, `reading` and
//! `verdict` check the answers, `prefixes` checks where shared prefixes were placed. `replicas` asks the pickers
//! themselves, `agreement` compares their decisions, `latency` measures what they add.

mod agreement;
mod client_request;
mod latency;
pub mod pd;
mod prefixes;
mod reading;
mod replicas;
mod report;
mod verdict;
mod workload;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub(crate) use agreement::{Then, ask};
pub use latency::AddedLatency;
pub use prefixes::{MeetingRule, Visit};
pub use report::Report;

use client_request::Heard;
use murmuration_kit::client::Client;
use workload::Ask;

/// A tier to check.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where Envoy takes requests and asks the pickers.
    pub public: SocketAddr,
    /// Where the same Envoy takes requests and asks no picker.
    pub direct: SocketAddr,
    /// The model all engines serve.
    pub model: String,
    /// How many engines there are.
    pub engines: usize,
    /// The admin address of each replica.
    pub replicas: Vec<SocketAddr>,
    /// Access to the replicas' decisions; `None` where they share nothing.
    pub replication: Option<ReplicaAccess>,
}

/// Replicas that share what they know; the check demands more of them.
#[derive(Clone, Debug)]
pub struct ReplicaAccess {
    /// Whether they follow each other by streams.
    pub streams: bool,
    /// Where each serves ext-proc over TLS.
    pub ext_proc: Vec<SocketAddr>,
    /// The certificate of the authority that signs their certificates, in PEM.
    pub authority: String,
}

/// Checks a tier. It takes as long as the engines need for about 1.5 MB of prompts; no exchange takes over a minute.
pub async fn run(target: &Target) -> Report {
    run_with(target, latency::PAIRS).await
}

async fn run_with(target: &Target, pairs: usize) -> Report {
    let mut report = Report::default();
    let public = Arc::new(Client::new(target.public));
    let direct = Arc::new(Client::new(target.direct));
    replicas::are_ready(target, &mut report).await;
    replicas::know_each_other(target, &mut report).await;
    let adapter = models(target, &public, &mut report).await;

    // Shared prefixes first: the megabyte that follows could evict them from a cache.
    let rule = match target.replication {
        Some(_) => MeetingRule::across_replicas(),
        None => MeetingRule::per_replica(target.replicas.len(), target.engines),
    };
    let groups = client_request::one_by_one(&public, workload::shared_prefixes(&target.model)).await;
    verdict::groups(&groups, rule, &mut report);

    let lanes = workload::lanes(&target.model, adapter.as_deref());
    let mut answers = mixed(&public, &direct, lanes).await;
    answers.extend(client_request::one_by_one(&public, workload::bad_requests(&target.model)).await);
    verdict::answers(&answers, &mut report);

    replicas::took_part(target, &mut report).await;
    report.agreement = agreement::measure(target, &mut report).await;
    report.added_latency_ms = latency::measure(target, pairs, &mut report).await;
    report
}

/// Runs the lanes concurrently; each lane sends one request after the other.
async fn mixed(public: &Arc<Client>, direct: &Arc<Client>, lanes: Vec<Vec<Ask>>) -> Vec<Heard> {
    let mut running = tokio::task::JoinSet::new();
    for (number, lane) in lanes.into_iter().enumerate() {
        let (public, direct) = (Arc::clone(public), Arc::clone(direct));
        running.spawn(async move { (number, client_request::compared(&public, &direct, lane).await) });
    }
    // Restores the order of lanes, so that two runs report the same failures in the same order.
    let mut lanes = running.join_all().await;
    lanes.sort_by_key(|(number, _)| *number);
    lanes.into_iter().flat_map(|(_, heard)| heard).collect()
}

/// Requests the list of models, without a body. Returns an adapter's name where the engines have one.
async fn models(target: &Target, public: &Client, report: &mut Report) -> Option<String> {
    let heard = client_request::page(public, "/v1/models").await;
    report.count(&heard);
    match verdict::models(&heard, &target.model) {
        Ok(adapter) => adapter,
        Err(sentence) => {
            report.fail(sentence);
            None
        }
    }
}
