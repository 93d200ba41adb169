//! The host as its parent sees it: orders, answers, and its processor time.
//!
//! Must not know what an order does.

use std::process::Stdio;
use std::time::Duration;

use murmuration_kit::pool::EndpointsFile;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::host::{Answer, Order};
use crate::args::Lanes;
use murmuration_kit::machine::cpu_used;

use crate::Failure;

/// How long any order may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running host. It ends when dropped, and also when this process is killed, because its standard input closes.
#[derive(Debug)]
pub(super) struct Host {
    pid: u32,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

// === impl Host ===

impl Host {
    /// Starts `replicas` replicas in `zones` zones that scrape at each `interval`. Returns the host with its first answer.
    pub(super) async fn start(
        (replicas, zones): (usize, u16),
        lanes: Lanes,
        interval: Duration,
        endpoints: &EndpointsFile,
    ) -> Result<(Self, Answer), Failure> {
        let program = std::env::current_exe().map_err(|why| format!("can't find this program itself: {why}"))?;
        let mut child = Command::new(program)
            .args(["replication-host", "--replicas", &replicas.to_string(), "--lanes", lanes.as_str()])
            .args(["--interval", &interval.as_millis().to_string(), "--zones", &zones.to_string()])
            .arg("--endpoints")
            .arg(endpoints.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|why| format!("can't start replication-host: {why}"))?;
        let pid = child.id().ok_or("the host ended as soon as it started")?;
        let orders = child.stdin.take().ok_or("a child without standard input")?;
        let stdout = child.stdout.take().ok_or("a child without standard output")?;
        let mut host = Self { pid, orders, answers: BufReader::new(stdout).lines(), _child: child };
        let first = host.answer().await?;
        Ok((host, first))
    }

    /// Processor time that it used so far.
    pub(super) fn cpu(&self) -> Result<Duration, Failure> {
        cpu_used(self.pid)
    }

    /// Sends an order and waits for its answer.
    pub(super) async fn ask(&mut self, order: Order) -> Result<Answer, Failure> {
        let mut line = serde_json::to_string(&order).map_err(|why| why.to_string())?;
        line.push('\n');
        self.orders.write_all(line.as_bytes()).await.map_err(|why| format!("the host takes no order: {why}"))?;
        self.answer().await
    }

    /// The next answer.
    pub(super) async fn answer(&mut self) -> Result<Answer, Failure> {
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        let line = line.map_err(|_| format!("the host sent nothing for {PATIENCE:?}"))?;
        let line = line.map_err(|why| format!("can't read from the host: {why}"))?.ok_or("the host ended")?;
        match serde_json::from_str(&line).map_err(|why| format!("not an answer: {line:?}: {why}"))? {
            Answer::Failed(why) => Err(why),
            answer => Ok(answer),
        }
    }
}
