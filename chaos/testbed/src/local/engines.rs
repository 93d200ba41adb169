//! The testbed's engines: emulated ones as processes of this program, or real ones at their addresses.
//!
//! Must not know who sends them requests.

use std::net::SocketAddr;
use std::path::Path;

use murmuration_actors::admin::client;
use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::pool::endpoint;
use serde::Serialize;
use serde_json::{Value, json};

use super::process::Process;
use super::sidecars::SidecarSpot;
use super::{PATIENCE, TestbedError, itself};

/// One engine of the testbed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineSpot {
    /// Its name in the pool.
    pub name: String,
    /// Where the pool finds it: its own address, or that of its sidecar.
    pub address: SocketAddr,
    /// Where it serves itself.
    pub engine: SocketAddr,
    /// Its zone; empty where there is one alone.
    pub zone: String,
    /// What it is for; `None` for one that does everything.
    pub role: Option<Role>,
    /// Its sidecar, if it has one.
    pub sidecar: Option<SidecarSpot>,
    /// Its process id; `None` while it is down, and for a real engine, which the testbed did not start.
    pub pid: Option<u32>,
}

// === impl EngineSpot ===

impl EngineSpot {
    /// An engine of the only zone, without a sidecar.
    pub(super) fn at(name: String, address: SocketAddr, role: Option<Role>, pid: Option<u32>) -> Self {
        Self { name, address, engine: address, zone: String::new(), role, sidecar: None, pid }
    }

    /// As the endpoints file lists it.
    fn listed(&self) -> Value {
        let role = self.role.map(|role| ("llm-d.ai/role", role.label()));
        let zone = Some(("topology.kubernetes.io/zone", self.zone.as_str())).filter(|(_, zone)| !zone.is_empty());
        endpoint(&self.name, self.address, &role.into_iter().chain(zone).collect::<Vec<_>>())
    }

    /// Whether requests may enter at it: it is not there for other engines alone.
    pub fn is_entrance(&self) -> bool {
        !matches!(self.role, Some(Role::Prefill | Role::Encode))
    }
}

/// What an emulated engine is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnginePlan {
    /// Its name in the pool.
    pub(super) name: String,
    /// The model that it serves.
    pub(super) model: String,
    /// Where it listens; with port 0 it chooses one.
    pub(super) address: SocketAddr,
    /// Its network namespace, if it has its own.
    pub(super) space: Option<String>,
    /// Further arguments.
    pub(super) arguments: Vec<String>,
}

/// Starts an emulated engine. `program` is the testbed's.
///
/// # Errors
/// [`TestbedError::Ended`], [`TestbedError::Late`], [`TestbedError::Spawn`].
pub(super) async fn start(
    program: &Path,
    plan: &EnginePlan,
    run: &Path,
) -> Result<(SocketAddr, Process), TestbedError> {
    let EnginePlan { name, model, address, space, arguments } = plan;
    let mut command = itself::command(program, "engine", space.as_deref());
    let (bind, port) = (address.ip().to_string(), address.port().to_string());
    command.args(["--bind", &bind, "--port", &port, "--name", name, "--model", model, "--exit-with-stdin"]);
    command.args(arguments);
    let log = run.join(format!("{name}.log"));
    let (process, line) = Process::start_and_read_line(name, command, &log, PATIENCE).await?;
    match announced(&line) {
        Some(address) => Ok((address, process)),
        None => Err(process.late(&format!("did not print where it serves, but {line:?}"), PATIENCE)),
    }
}

/// The running engine at `url`. Its name is resolved once, because Envoy and the endpoints file need an address.
///
/// # Errors
/// [`TestbedError::Engine`].
pub(super) async fn adopt(index: usize, url: &str) -> Result<EngineSpot, TestbedError> {
    let fail = |why: String| TestbedError::Engine { url: url.to_owned(), why };
    let place = place(url).map_err(fail)?;
    let found = tokio::net::lookup_host(&place).await.map_err(|why| fail(format!("can't resolve it: {why}")))?;
    let mut failure = "its name has no address".to_owned();
    // `localhost` is two addresses, and an engine often listens on one of them.
    for address in found {
        match client::fetch(address, "/health").await {
            Ok((status, _)) if status.is_success() => {
                let name = format!("engine-{index}");
                return Ok(EngineSpot::at(name, address, None, None));
            }
            Ok((status, _)) => failure = format!("its /health answers {status}; is it still loading its model?"),
            Err(_) => failure = no_answer(address),
        }
    }
    Err(fail(failure))
}

/// The first model that an engine serves.
///
/// # Errors
/// [`TestbedError::Engine`].
pub(super) async fn first_model(engine: &EngineSpot) -> Result<String, TestbedError> {
    let fail = |why: &str| TestbedError::Engine { url: format!("http://{}", engine.address), why: why.to_owned() };
    let (_, text) = client::fetch(engine.engine, "/v1/models").await.map_err(|_| fail(&no_answer(engine.engine)))?;
    let models: Value = serde_json::from_str(&text).map_err(|_| fail("its /v1/models is no JSON"))?;
    let first = models["data"][0]["id"].as_str();
    first.map(str::to_owned).ok_or_else(|| fail("its /v1/models names no model; say which with --model"))
}

/// The endpoints file of these engines.
pub(super) fn listed<'a>(engines: impl IntoIterator<Item = &'a EngineSpot>) -> String {
    format!("{:#}\n", json!({ "endpoints": engines.into_iter().map(EngineSpot::listed).collect::<Vec<_>>() }))
}

fn no_answer(address: SocketAddr) -> String {
    format!("nothing at {address} speaks HTTP; is the engine up?")
}

/// The address at the end of an engine's first line, `engine NAME serves MODEL on IP:PORT`.
fn announced(line: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("engine ")?;
    rest.rsplit_once(" on ")?.1.trim().parse().ok()
}

/// `host:port` of a URL.
fn place(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("only http:// URLs are understood, such as http://127.0.0.1:8000")?;
    let place = rest.strip_suffix('/').unwrap_or(rest);
    if place.contains('/') {
        return Err("leave out the path; the pool's engines are addressed by host and port".to_owned());
    }
    let has_port = place.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    Ok(if has_port { place.to_owned() } else { format!("{place}:80") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_address() {
        let line = "engine engine-0 serves tiny on 127.0.0.1:4711";
        assert_eq!(announced(line), Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        for other in ["", "panicked at somewhere on 127.0.0.1:1", "engine engine-0 serves tiny on mars"] {
            assert_eq!(announced(other), None, "{other}");
        }
    }

    #[test]
    fn a_real_engine_is_named_by_scheme_host_and_port() {
        assert_eq!(place("http://127.0.0.1:8000").as_deref(), Ok("127.0.0.1:8000"));
        assert_eq!(place("http://[::1]:8000/").as_deref(), Ok("[::1]:8000"));
        assert_eq!(place("http://vllm-0").as_deref(), Ok("vllm-0:80"));
        for bad in ["https://vllm-0", "127.0.0.1:8000", "http://vllm-0/v1"] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }
}
