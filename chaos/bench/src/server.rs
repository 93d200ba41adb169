//! A measured server: this program as a child process on loopback, which ends with its parent.
//!
//! Must not know what it serves.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use murmuration_kit::machine::cpu_used;
use murmuration_kit::pool::{EndpointsFile, default_with_endpoints};

use super::Failure;

/// How long a server may take to print its address.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the image (`deploy/docker`) sets, so that memory does not depend on the number of cores.
const ARENAS: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// A running server; it stops when dropped.
#[derive(Debug)]
pub(super) struct Server {
    /// Where its ext-proc service is.
    pub(super) ext_proc: SocketAddr,
    /// Where its metrics page is; `None` if it has none.
    pub(super) admin: Option<SocketAddr>,
    /// Its process.
    pub(super) pid: u32,
    _child: Child,
    /// Both servers end when their standard input closes, so also when this process is killed.
    _stdin: Option<ChildStdin>,
    _files: Vec<EndpointsFile>,
}

// === impl Server ===

impl Server {
    /// The server that does nothing.
    pub(super) async fn noop() -> Result<Self, Failure> {
        Self::start(&["serve-noop".to_owned()], Vec::new()).await
    }

    /// A replica with llm-d's default configuration whose pool is `engines`; `flags` come last.
    pub(super) async fn replica(engines: &[SocketAddr], flags: &[String]) -> Result<Self, Failure> {
        let endpoints = EndpointsFile::with(engines)?;
        let config = default_with_endpoints(endpoints.path())?;
        let fixed =
            ["serve", "--config-text", &config, "--bind", "127.0.0.1", "--grpc-port", "0", "--grpc-health-port"];
        let rest = ["0", "--metrics-port", "0", "--secure-serving=false", "--exit-with-stdin"];
        let arguments = fixed.into_iter().chain(rest).map(str::to_owned).chain(flags.iter().cloned());
        Self::start(&arguments.collect::<Vec<_>>(), vec![endpoints]).await
    }

    /// A replica that serves these pools, each a port and its engines, by the default configuration. `ext_proc` is the
    /// address of the first one.
    pub(super) async fn of_pools(pools: &[(u16, &[SocketAddr])], flags: &[&str]) -> Result<Self, Failure> {
        let mut arguments = vec!["serve".to_owned()];
        let mut files = Vec::new();
        for (port, engines) in pools {
            let endpoints = EndpointsFile::with(engines)?;
            let config = endpoints.path().with_extension("yaml");
            std::fs::write(&config, default_with_endpoints(endpoints.path())?)
                .map_err(|why| format!("can't write {}: {why}", config.display()))?;
            arguments.extend(["--pool".to_owned(), format!("pool-{port}={port}:{}", config.display())]);
            files.extend([endpoints, EndpointsFile::at(config)]);
        }
        let fixed = ["--bind", "127.0.0.1", "--grpc-health-port", "0", "--metrics-port", "0", "--secure-serving=false"];
        let rest = fixed.iter().chain(&["--exit-with-stdin"]).chain(flags).map(|flag| (*flag).to_owned());
        arguments.extend(rest);
        Self::start(&arguments, files).await
    }

    /// Processor time that the server used so far.
    pub(super) fn cpu(&self) -> Result<Duration, Failure> {
        cpu_used(self.pid)
    }

    async fn start(arguments: &[String], files: Vec<EndpointsFile>) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|why| format!("can't find this program itself: {why}"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .env(ARENAS.0, ARENAS.1)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| format!("can't start {}: {why}", arguments[0]))?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().ok_or("a child without standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let at = timeout(PATIENCE, started(&mut lines)).await;
        let (ext_proc, admin) = at.map_err(|_| format!("{} did not start in {PATIENCE:?}", arguments[0]))??;
        // Later lines are shown only if they report an error.
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("\"ERROR\"") || line.contains("panicked") {
                    eprintln!("{line}");
                }
            }
        });
        let pid = child.id().ok_or("the server ended as soon as it started")?;
        Ok(Self { ext_proc, admin, pid, _child: child, _stdin: stdin, _files: files })
    }
}

/// A client of the ext-proc service at this address.
pub(super) async fn connect(server: SocketAddr) -> Result<ExternalProcessorClient<Channel>, Failure> {
    let cant = |why: tonic::transport::Error| format!("can't connect to the server at {server}: {why}");
    let channel = Endpoint::try_from(format!("http://{server}")).map_err(cant)?.tcp_nodelay(true);
    Ok(ExternalProcessorClient::new(channel.connect().await.map_err(cant)?))
}

/// Waits for the line with the server's addresses.
async fn started(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<(SocketAddr, Option<SocketAddr>), Failure> {
    let mut last_line = String::new();
    while let Ok(Some(line)) = lines.next_line().await {
        let value: Value = serde_json::from_str(&line).unwrap_or_default();
        let address = |of: &str| value[of].as_str().filter(|_| value["message"] == "started")?.parse().ok();
        if let Some(ext_proc) = address("ext_proc") {
            return Ok((ext_proc, address("admin")));
        }
        last_line = line;
    }
    Err(format!("the server ended before it listened; its last line: {last_line}"))
}
