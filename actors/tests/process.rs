//! A replica as its own process: it starts, logs where it listens, decides, explains its decisions, and exits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::disallowed_methods, reason = "a test ends its tasks with its runtime")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use murmuration_actors::admin::client;
use murmuration_kit::ExtProcStream;
use murmuration_kit::ext_proc::expect::{answered, destination, post, response_headers};
use murmuration_proto::ext_proc::ExternalProcessorClient;
use murmuration_proto::names;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

/// The longest wait for anything; a test that waits longer fails.
const TIMEOUT: Duration = Duration::from_secs(30);
const POOL: &str = "127.0.0.1:7";

/// A running `murmuration serve` on ports that the system chose. Killed when dropped.
struct Process {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    reading: watch::Sender<bool>,
    ext_proc: SocketAddr,
    admin: SocketAddr,
    folder: Folder,
}

/// A folder with a configuration and an endpoints file. Deleted when dropped.
struct Folder {
    path: PathBuf,
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmuration"));
    command.kill_on_drop(true).stdin(Stdio::piped());
    command
}

/// Runs a verb to its end.
async fn ran(arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        timeout(TIMEOUT, program().args(arguments).output()).await.unwrap().unwrap();
    (status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Sends a signal, as an orchestrator would.
async fn signal(child: &Child, name: &str) {
    let pid = child.id().expect("it runs").to_string();
    assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
}

// === impl Folder ===

impl Folder {
    fn new() -> Self {
        static FOLDERS: AtomicU64 = AtomicU64::new(0);
        let name = format!("murmuration-process-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        let (address, port) = POOL.split_once(':').unwrap();
        let endpoints = format!("endpoints:\n- {{name: e0, address: {address}, port: {port}}}\n");
        std::fs::write(path.join("endpoints.yaml"), endpoints).unwrap();
        let config = format!(
            "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: prefix-cache-scorer\n\
             - type: file-discovery\n  parameters: {{path: {:?}}}\ndataLayer: {{discovery: {{pluginRef: file-discovery}}}}\n",
            path.join("endpoints.yaml").display().to_string()
        );
        std::fs::write(path.join("config.yaml"), config).unwrap();
        Self { path }
    }

    fn config(&self) -> String {
        self.path.join("config.yaml").display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

// === impl Process ===

impl Process {
    /// Starts a replica and waits until it is ready.
    async fn start(more: &[&str]) -> Self {
        let folder = Folder::new();
        let ports = ["--grpc-port=0", "--grpc-health-port=0", "--metrics-port=0", "--secure-serving=false"];
        let mut command = program();
        command.args(["serve", "--bind=127.0.0.1", "--config-file", &folder.config()]).args(ports).args(more);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (reading, read) = watch::channel(true);
        let mut log = follow(child.stderr.take().unwrap(), read);
        let started = line(&mut log, "started").await;
        let address = |key: &str| started[key].as_str().unwrap().parse().unwrap();
        let (ext_proc, admin) = (address("ext_proc"), address("admin"));
        let ready = async {
            while client::fetch(admin, "/readyz").await.unwrap().0 != 200 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(TIMEOUT, ready).await.expect("a ready replica");
        Self { child, log, reading, ext_proc, admin, folder }
    }

    async fn open_stream(&self) -> ExtProcStream {
        ExtProcStream::open(ExternalProcessorClient::connect(format!("http://{}", self.ext_proc)).await.unwrap())
    }

    /// The rest of the log, and the exit code.
    async fn end(mut self) -> (String, Option<i32>) {
        let reading = async {
            let mut rest = String::new();
            while let Some(line) = self.log.recv().await {
                rest.push_str(&line);
                rest.push('\n');
            }
            rest
        };
        let rest = timeout(TIMEOUT, reading).await.expect("the log's end");
        let status = timeout(TIMEOUT, self.child.wait()).await.unwrap().unwrap();
        drop(self.folder);
        (rest, status.code())
    }
}

/// The lines of a log, read as they arrive while `reading` is true.
fn follow(log: ChildStderr, mut reading: watch::Receiver<bool>) -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut log = BufReader::new(log).lines();
        while reading.wait_for(|on| *on).await.is_ok() {
            let Ok(Some(line)) = log.next_line().await else { break };
            let _ = sender.send(line);
        }
    });
    lines
}

/// The next line of the log with this message.
async fn line(log: &mut mpsc::UnboundedReceiver<String>, message: &str) -> serde_json::Value {
    let reading = async {
        loop {
            let line = log.recv().await.unwrap_or_else(|| panic!("the log ended before {message:?}"));
            let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
            if value["message"] == message {
                return value;
            }
        }
    };
    timeout(TIMEOUT, reading).await.unwrap_or_else(|_| panic!("no {message:?} in time"))
}

#[tokio::test]
async fn a_decision_is_explained_at_a_terminal() {
    let process = Process::start(&[]).await;
    let admin = process.admin.to_string();
    let (code, list, errors) = ran(&["explain", "--admin", &admin]).await;
    assert_eq!((code, errors.as_str(), list.lines().count()), (0, "", 1), "only the table's head: {list}");

    let body = br#"{"model":"base","prompt":"hello"}"#;
    let (head, _) = process.open_stream().await.ask(post(&[(names::REQUEST_ID, "my request/1")]), body).await;
    assert_eq!(destination(&head), POOL);

    let (code, list, _) = ran(&["explain", "--admin", &admin]).await;
    assert_eq!(code, 0);
    let row = list.lines().nth(1).unwrap_or_else(|| panic!("a decision: {list}"));
    assert!(row.starts_with("my request/1 ") && row.contains(" base ") && row.contains(" default/e0 "), "{row}");

    let (code, page, errors) = ran(&["explain", "my request/1", "--admin", &admin]).await;
    assert_eq!((code, errors.as_str()), (0, ""));
    for part in [
        "request     my request/1",
        "model       base",
        "decode      default/e0 at 127.0.0.1:7",
        "prefix-cache-scorer x 1",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let (code, page, errors) = ran(&["explain", "another", "--admin", &admin]).await;
    assert_eq!((code, page.as_str()), (1, ""));
    assert!(errors.contains("not among the last decisions of this replica"), "{errors}");
}

#[tokio::test]
async fn a_terminated_process_finishes_its_streams_and_exits_with_0() {
    let mut process = Process::start(&["--drain-timeout=20s"]).await;
    let mut stream = process.open_stream().await;
    stream.ask(post(&[]), br#"{"model":"base","prompt":"hello"}"#).await;
    signal(&process.child, "TERM").await;
    line(&mut process.log, "draining").await;
    stream.send(response_headers(&[(":status", "200")], true)).await;
    answered(&stream.answer().await);
    stream.close();
    assert!(stream.receive().await.is_none(), "the stream ends in order");
    let (log, code) = process.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("\"drained\"") && !log.contains("still open"), "{log}");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let mut process = Process::start(&["--drain-timeout=1h"]).await;
    let mut stream = process.open_stream().await;
    stream.ask(post(&[]), br#"{"model":"base","prompt":"hello"}"#).await;
    signal(&process.child, "INT").await;
    line(&mut process.log, "draining").await;
    signal(&process.child, "TERM").await;
    let (log, code) = process.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("\"drained\""), "{log}");
}

#[tokio::test]
async fn a_process_exits_when_the_parent_that_asked_for_it_is_gone() {
    let mut process = Process::start(&["--exit-with-stdin"]).await;
    drop(process.child.stdin.take());
    assert_eq!(process.end().await.1, Some(0));
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let process = Process::start(&[]).await;
    let folder = Folder::new();
    let port = process.admin.port().to_string();
    let ports = ["--grpc-port=0", "--grpc-health-port=0", "--metrics-port", &port, "--bind=127.0.0.1"];
    let (code, _, errors) = ran(&[&["serve", "--config-file", &folder.config()][..], &ports].concat()).await;
    assert_eq!(code, 1);
    let last = errors.lines().last().unwrap_or_default();
    assert!(last.starts_with(&format!("murmuration: can't listen on 127.0.0.1:{port} (--metrics-port): ")), "{last}");
    assert!(last.ends_with("; is it taken?"), "{last}");
}

/// A log collector that hangs leaves the pipe full, and a blocking write to it would hang too.
#[tokio::test]
async fn an_unread_log_delays_no_request() {
    let process = Process::start(&["-v", "trace", "--drain-timeout=1s"]).await;
    process.reading.send_replace(false);
    let body = br#"{"model":"base","prompt":"hello"}"#;
    for _ in 0..200 {
        let (head, _) = process.open_stream().await.ask(post(&[]), body).await;
        assert_eq!(destination(&head), POOL);
    }
    process.reading.send_replace(true);
    signal(&process.child, "TERM").await;
    let (log, code) = process.end().await;
    assert_eq!(code, Some(0));
    assert!(log.len() > 256 << 10, "more was logged than a pipe holds: {} bytes", log.len());
}

#[tokio::test]
async fn no_prompt_and_no_header_is_logged_at_any_level_of_ours() {
    let process = Process::start(&["-v", "5", "--drain-timeout=1s"]).await;
    let secret = "a-secret-that-nobody-may-read";
    let body = format!("{{\"model\":\"base\",\"prompt\":\"{secret}\"}}");
    let head = post(&[("authorization", secret), (names::REQUEST_ID, "seen")]);
    let (head, _) = process.open_stream().await.ask(head, body.as_bytes()).await;
    assert_eq!(destination(&head), POOL);
    let broken = format!("{{\"model\": {secret}");
    let mut stream = process.open_stream().await;
    stream.send(post(&[])).await;
    stream.send(murmuration_kit::ext_proc::request_body(broken.as_bytes(), true)).await;
    assert_eq!(murmuration_kit::ext_proc::expect::refusal(&stream.answer().await).0, 400);
    // A regular shutdown, so that every line is written.
    signal(&process.child, "TERM").await;
    let (log, _) = process.end().await;
    assert!(log.contains("\"seen\""), "the request itself is logged");
    assert!(!log.contains(secret), "{log}");
}
