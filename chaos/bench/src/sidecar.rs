//! What a sidecar adds to a request that it passes to its decode engine, and the memory that open answers take.
//!
//! One run asks the engine directly and through the sidecar, in turns. Must not know how a sidecar passes anything on.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use murmuration_kit::client::{Client, EventStream};
use murmuration_kit::machine::memory_kib;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{sleep, timeout};

use super::args::SidecarArgs;
use super::envoy::engines::{CHUNKS, Engines};
use super::spread::Spread;
use super::table::{Cell, Table};
use super::{Failure, body};

const PATH: &str = "/v1/chat/completions";
/// Requests on each way before the measured ones; they open connections and fill caches.
const WARM_UP: usize = 50;
/// Pause between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(1);
/// How long the sidecar may take to start, and how long its memory is left to settle.
const PATIENCE: Duration = Duration::from_secs(20);
const SETTLES: Duration = Duration::from_secs(1);
/// An answer that does not end within the bench.
const OPEN: Duration = Duration::from_secs(3_600);

/// A sidecar as a child process. It ends with this one.
struct Sidecar {
    at: SocketAddr,
    pid: u32,
    _child: Child,
    _stdin: Option<ChildStdin>,
}

/// Measures both ways.
pub(super) async fn run(args: &SidecarArgs) -> Result<Table, Failure> {
    let engines = Engines::serve(Duration::ZERO).await?;
    let engine = engines.addresses[0];
    let sidecar = Sidecar::start(engine).await?;
    let ways = [Client::new(engine), Client::new(sidecar.at)];
    let [direct, through] = first_tokens(&ways, args).await?;
    drop(ways);
    let open = open_streams(args.streams).await?;
    let columns = ["way", "first_token_p50_ms", "first_token_p99_ms", "added_p50_ms", "streams", "streams_mb"];
    let mut table = Table::new("sidecar", &columns).about("samples", args.samples).about("body_kb", args.body);
    for (way, spread) in [("direct", direct), ("sidecar", through)] {
        let is_ours = way == "sidecar";
        table.row(vec![
            Cell::Word(way.to_owned()),
            Cell::Figure(spread.p50, 3),
            Cell::Figure(spread.p99, 3),
            if is_ours { Cell::Figure(spread.p50 - direct.p50, 3) } else { Cell::Nothing },
            if is_ours { Cell::Count(args.streams as u64) } else { Cell::Nothing },
            if is_ours { Cell::Figure(open, 1) } else { Cell::Nothing },
        ]);
    }
    Ok(table)
}

/// Times to the first token of streamed answers on both ways, in ms.
async fn first_tokens(ways: &[Client; 2], args: &SidecarArgs) -> Result<[Spread; 2], Failure> {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..WARM_UP + args.samples {
        // In turns, so that other load on the machine affects both.
        for way in [round % 2, 1 - round % 2] {
            sleep(PAUSE).await;
            let text = body::chat(args.body << 10, (2 * round + way) as u64, true);
            let answer = ways[way].post(PATH, text, &[(CHUNKS, "3")]).await.map_err(|why| why.to_string())?;
            if !answer.status.is_success() || answer.body.len() != body::events(3).concat().len() {
                return Err(format!("{} of {} bytes is not the engine's answer", answer.status, answer.body.len()));
            }
            if round >= WARM_UP {
                times[way].push(answer.first_byte.as_secs_f64() * 1e3);
            }
        }
    }
    Ok(times.map(Spread::of))
}

/// How many MB a sidecar's memory grows by while `count` answers are open that have begun.
async fn open_streams(count: usize) -> Result<f64, Failure> {
    let engines = Engines::serve(OPEN).await?;
    let sidecar = Sidecar::start(engines.addresses[0]).await?;
    let client = Client::new(sidecar.at).with_deadline(OPEN);
    // What is there once, whatever is open.
    drop(opened(&client).await?);
    sleep(SETTLES).await;
    let before = memory_kib(sidecar.pid)?;
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        streams.push(opened(&client).await?);
    }
    sleep(SETTLES).await;
    let grown = memory_kib(sidecar.pid)?.saturating_sub(before);
    drop(streams);
    Ok(grown as f64 * 1024.0 / 1e6)
}

/// An answer whose first event is there.
async fn opened(client: &Client) -> Result<EventStream<'_>, Failure> {
    let stream = client.stream(PATH, body::chat(1 << 10, 1, true), &[(CHUNKS, "2")]).await;
    let mut stream = stream.map_err(|why| why.to_string())?;
    stream.next().await.map_err(|why| why.to_string())?.ok_or("an answer without an event")?;
    Ok(stream)
}

// === impl Sidecar ===

impl Sidecar {
    /// Starts a sidecar in front of the engine at `engine`.
    async fn start(engine: SocketAddr) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|why| format!("can't find this program itself: {why}"))?;
        let mut child = Command::new(program)
            .args(["serve-sidecar", "--bind", "127.0.0.1", "--port", "0", "--secure-serving=false"])
            .args(["--model-server-port", &engine.port().to_string(), "--allowed-targets", "10.0.0.1:8000"])
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| format!("can't start a sidecar: {why}"))?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().ok_or("a child without standard error")?;
        let mut lines = BufReader::new(stderr).lines();
        let serves = async {
            while let Ok(Some(line)) = lines.next_line().await {
                let value: Value = serde_json::from_str(&line).unwrap_or_default();
                if let Some(at) = value["at"].as_str().filter(|_| value["message"] == "serves") {
                    return at.parse().ok();
                }
            }
            None
        };
        let at = timeout(PATIENCE, serves).await.ok().flatten().ok_or("the sidecar did not start")?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let pid = child.id().ok_or("the sidecar ended as soon as it started")?;
        Ok(Self { at, pid, _child: child, _stdin: stdin })
    }
}
