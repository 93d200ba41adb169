//! The testbed's Envoy: started with its bootstrap, ready when it reports every replica as healthy.
//!
//! Must not know replicas beyond their addresses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use murmuration_actors::admin::client;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::envoy_config::{ENGINES, EnvoyPlan, PICKERS, bootstrap};
use super::process::Process;
use super::run_folder::RunFolder;
use super::{PATIENCE, TestbedError};

/// Interval between two reads of Envoy's admin page, while waiting for it.
const READ_EVERY: Duration = Duration::from_millis(50);
/// Worker threads at most: on a large machine one for each core would be hundreds of connections to each replica.
const WORKERS_MAX: usize = 4;

/// Starts `program`, and waits until it takes requests and reports all replicas as healthy.
///
/// # Errors
/// [`TestbedError::Ended`] with Envoy's error; [`TestbedError::Late`].
pub(super) async fn start(program: &Path, plan: &EnvoyPlan, run_folder: &RunFolder) -> Result<Process, TestbedError> {
    let config = run_folder.write("envoy.json", &format!("{:#}\n", bootstrap(plan)))?;
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX).to_string();
    let config = config.display().to_string();
    let arguments = ["--config-path", &config, "--concurrency", &workers, "--log-level", "warning"];
    let arguments = [&arguments[..], &["--disable-hot-restart"]].concat();
    let mut envoy = Process::start_guarded("envoy", program, &arguments, &run_folder.run.join("envoy.log"))?;
    let pickers: Vec<SocketAddr> = plan.pickers.iter().map(|picker| picker.ext_proc).collect();
    all_healthy(plan.admin, &pickers, &mut envoy).await?;
    Ok(envoy)
}

/// Waits until Envoy at `admin` is live and reports the replicas at these addresses as healthy.
///
/// # Errors
/// As [`start`].
pub(super) async fn all_healthy(
    admin: SocketAddr,
    pickers: &[SocketAddr],
    envoy: &mut Process,
) -> Result<(), TestbedError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        envoy.still_lives()?;
        let health = health(admin).await;
        if is_live(admin).await && pickers.iter().all(|picker| health.get(picker) == Some(&true)) {
            return Ok(());
        }
        if Instant::now() > deadline {
            let sick = pickers.iter().filter(|picker| health.get(picker) != Some(&true));
            let sick: Vec<String> = sick.map(ToString::to_string).collect();
            return Err(envoy.late(&format!("did not call all replicas healthy (not {})", sick.join(", ")), PATIENCE));
        }
        sleep(READ_EVERY).await;
    }
}

/// Requests that Envoy sent to each engine by a picker's decision; empty when Envoy does not answer.
pub(super) async fn requests(admin: SocketAddr) -> BTreeMap<SocketAddr, u64> {
    hosts(&clusters(admin).await, ENGINES).into_iter().map(|(at, host)| (at, counter(&host, "rq_total"))).collect()
}

/// Whether Envoy reports each replica as healthy; empty when Envoy does not answer.
pub(super) async fn health(admin: SocketAddr) -> BTreeMap<SocketAddr, bool> {
    hosts(&clusters(admin).await, PICKERS).into_iter().map(|(at, host)| (at, is_healthy(&host))).collect()
}

async fn is_live(admin: SocketAddr) -> bool {
    client::fetch(admin, "/ready").await.is_ok_and(|(status, _)| status.is_success())
}

async fn clusters(admin: SocketAddr) -> Value {
    let fetched = client::fetch(admin, "/clusters?format=json").await;
    fetched.ok().and_then(|(_, text)| serde_json::from_str(&text).ok()).unwrap_or_default()
}

/// The hosts of one cluster, from Envoy's page `/clusters`.
fn hosts(page: &Value, cluster: &str) -> Vec<(SocketAddr, Value)> {
    let clusters = page["cluster_statuses"].as_array().into_iter().flatten();
    let hosts = clusters.filter(|one| one["name"] == cluster).filter_map(|one| one["host_statuses"].as_array());
    let addressed = hosts.flatten().filter_map(|host| {
        let socket = &host["address"]["socket_address"];
        let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
        Some((SocketAddr::new(socket["address"].as_str()?.parse().ok()?, port), host.clone()))
    });
    addressed.collect()
}

/// Besides discovery's status, Envoy reports only failures of a host. Until the first health check,
/// `failed_active_health_check` is set too.
fn is_healthy(host: &Value) -> bool {
    let health = &host["health_status"];
    let failed = ["failed_active_health_check", "pending_active_hc", "active_hc_timeout", "failed_outlier_check"];
    health["eds_health_status"] == "HEALTHY" && failed.iter().all(|flag| health[flag] != true)
}

/// A counter or gauge of a host. Envoy leaves out the value when it is zero, and writes numbers as text.
fn counter(host: &Value, name: &str) -> u64 {
    let stats = host["stats"].as_array().into_iter().flatten();
    let value = stats.filter(|stat| stat["name"] == name).find_map(|stat| stat["value"].as_str()?.parse().ok());
    value.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page() -> Value {
        let at = |port: u16| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
        json!({ "cluster_statuses": [
            { "name": PICKERS, "host_statuses": [
                { "address": at(1), "health_status": { "eds_health_status": "HEALTHY" } },
                { "address": at(2), "health_status": { "eds_health_status": "HEALTHY", "failed_active_health_check": true } },
            ] },
            { "name": ENGINES, "host_statuses": [
                { "address": at(3), "stats": [{ "name": "rq_error" }, { "name": "rq_total", "value": "17" }] },
                { "address": at(4), "stats": [{ "name": "rq_total" }] },
            ] },
            { "name": "idle" },
        ] })
    }

    #[test]
    fn a_replica_is_healthy_when_no_failure_is_reported() {
        let found: Vec<(u16, bool)> =
            hosts(&page(), PICKERS).iter().map(|(at, host)| (at.port(), is_healthy(host))).collect();
        assert_eq!(found, [(1, true), (2, false)]);
    }

    #[test]
    fn counters_that_envoy_leaves_out_are_zero() {
        let found: Vec<(u16, u64)> =
            hosts(&page(), ENGINES).iter().map(|(at, host)| (at.port(), counter(host, "rq_total"))).collect();
        assert_eq!(found, [(3, 17), (4, 0)]);
    }
}
