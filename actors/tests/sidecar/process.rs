//! `murmuration sidecar` as its own process: its flags, TLS, and how it leaves.

use std::process::{Output, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use murmuration_kit::leg_engine::{LegEngine, Reply};

use crate::harness::{Client, TIMEOUT};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmuration"));
    command.kill_on_drop(true).stdin(Stdio::null()).stderr(Stdio::piped()).args(["sidecar", "--bind=127.0.0.1"]);
    command
}

/// A sidecar on ports that the system chose, its log, and the port of rank 0.
async fn start(decoder: &LegEngine, flags: &[&str]) -> (Child, Lines<BufReader<ChildStderr>>, std::net::SocketAddr) {
    let port = format!("--model-server-port={}", decoder.address.port());
    let mut child = program().args(["--port=0", &port]).args(flags).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    let reading = async {
        loop {
            let line = log.next_line().await.unwrap().expect("the log ended");
            let line: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
            if line["message"] == "serves" {
                return line["at"].as_str().unwrap().parse().unwrap();
            }
        }
    };
    let at = timeout(TIMEOUT, reading).await.expect("a line in time");
    (child, log, at)
}

#[tokio::test]
async fn it_serves_with_llm_ds_flags_and_finishes_answers_when_it_is_told_to_leave() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let flags =
        ["--secure-proxy=false", "--kv-connector=nixlv2", "--allowed-targets=10.0.0.0/8:8000", "--drain-timeout=10s"];
    let (mut child, _log, at) = start(&decoder, &flags).await;
    let mut client = Client::send(at, "POST /v1/completions", &[], r#"{"prompt":"x"}"#).await;
    events.send("data: a\n\n".to_owned()).unwrap();
    client.until("data: a").await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
    let not_ready = async { while Client::send(at, "GET /health", &[], "").await.answer().await.status != 503 {} };
    timeout(TIMEOUT, not_ready).await.expect("a draining sidecar is not healthy");
    events.send("data: b\n\n".to_owned()).unwrap();
    client.until("data: b").await;
    drop(events);
    assert_eq!(client.answer().await.body, "data: a\n\ndata: b\n\n");
    assert_eq!(timeout(TIMEOUT, child.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn connections_that_come_too_late_are_closed_and_do_not_wait() {
    let (events, sent) = mpsc::unbounded_channel();
    let sent = std::sync::Mutex::new(Some(sent));
    let decoder = LegEngine::start(move |_| Reply::Events(sent.lock().unwrap().take().unwrap())).await;
    let flags = ["--secure-serving=false", "--enable-ssrf-protection=false", "--drain-timeout=60s"];
    let (mut child, _log, at) = start(&decoder, &flags).await;
    let mut client = Client::send(at, "POST /v1/completions", &[], r#"{"prompt":"x"}"#).await;
    events.send("data: a\n\n".to_owned()).unwrap();
    client.until("data: a").await;
    let idle = TcpStream::connect(at).await.unwrap();
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().await.unwrap().success());
    // An idle connection is closed when the notice is over.
    let end =
        async |mut stream: TcpStream| timeout(TIMEOUT, stream.read(&mut [0; 1])).await.map(Result::unwrap_or_default);
    assert_eq!(end(idle).await.expect("the notice ends"), 0);
    assert_eq!(end(TcpStream::connect(at).await.unwrap()).await.expect("closed at once"), 0);
    events.send("data: b\n\n".to_owned()).unwrap();
    drop(events);
    assert_eq!(client.answer().await.body, "data: a\n\ndata: b\n\n");
    assert_eq!(timeout(TIMEOUT, child.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_sidecar_that_stood_still_does_not_hand_over_what_came_meanwhile() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let told = std::sync::Mutex::new(Some(told));
    let prefiller = LegEngine::start(move |_| {
        let params = r#"{"do_remote_prefill":true,"remote_block_ids":[[1]],"remote_engine_id":"e","remote_host":"h","remote_port":1}"#;
        let answer = Reply::json(format!(r#"{{"kv_transfer_params":{params}}}"#));
        Reply::After(told.lock().unwrap().take().unwrap(), Box::new(answer))
    })
    .await;
    let decoder = LegEngine::answering("{}").await;
    let flags = ["--secure-serving=false", "--enable-ssrf-protection=false", "--handoff-timeout=1s"];
    let (child, _log, at) = start(&decoder, &flags).await;
    let header = [("x-prefiller-host-port", prefiller.name())];
    let header = header.each_ref().map(|(name, value)| (*name, value.as_str()));
    let client = Client::send(at, "POST /v1/completions", &header, r#"{"prompt":"x"}"#).await;
    prefiller.has_received(1).await;
    let pid = child.id().unwrap().to_string();
    let signal = async |name: &str| {
        assert!(Command::new("kill").args(["-s", name, &pid]).status().await.unwrap().success());
    };
    signal("STOP").await;
    // The answer waits in the sidecar's socket, for longer than a hand-off may.
    tell.send(()).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    signal("CONT").await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(&decoder.only().body[..], br#"{"prompt":"x"}"#, "it can't tell how old the answer is");
}

#[tokio::test]
async fn it_serves_over_tls_unless_told_otherwise() {
    let decoder = LegEngine::answering("{}").await;
    let (_child, _log, at) = start(&decoder, &["--enable-ssrf-protection=false"]).await;
    let (_child, _log, plain) = {
        // A second sidecar whose decode engine is the first one: the leg is encrypted, with a certificate that nobody
        // vouches for.
        let port = format!("--model-server-port={}", at.port());
        let flags = [
            "--secure-serving=false",
            "--enable-ssrf-protection=false",
            "--enable-tls=decoder",
            "--tls-insecure-skip-verify=decoder",
            &port,
        ];
        let unused = LegEngine::answering("{}").await;
        let mut child = program().args(["--port=0"]).args(flags).spawn().unwrap();
        drop(unused);
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = timeout(TIMEOUT, log.next_line()).await.unwrap().unwrap().unwrap();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        (child, log, line["at"].as_str().unwrap().parse().unwrap())
    };
    let got = Client::send(plain, "POST /v1/completions", &[], r#"{"prompt":"x"}"#).await.answer().await;
    assert_eq!((got.status, got.body.as_str()), (200, "{}"));
    assert_eq!(&decoder.only().body[..], br#"{"prompt":"x"}"#);
}

#[tokio::test]
async fn flags_that_do_not_fit_are_refused_with_a_cure() {
    for (flags, expected) in [
        (&[][..], "--enable-ssrf-protection=false"),
        (&["--inference-pool=a/"], "write its namespace and name, as in prod/llama"),
        (&["--inference-pool=a/b", "--kubeconfig=/nowhere"], "--inference-pool is looked for in the Kubernetes API"),
        (&["--allowed-targets=10.0.0.7"], "write 10.0.0.7:8000"),
        (&["--port=0", "--allowed-targets-file=/nowhere"], "--allowed-targets-file /nowhere"),
        (&["--allowed-targets=a:1", "--handoff-timeout=20s"], "write at most 15s"),
        (&["--allowed-targets=a:1", "--decode-chunk-size=64"], "not here yet"),
        (&["--allowed-targets=a:1", "--port=8200"], "overlap"),
        (&["--allowed-targets=a:1", "--kv-connector=sglang", "--enable-p2p-pull"], "--enable-p2p-pull"),
        (
            &["--allowed-targets=a:1", "--enable-tls=prefiller", "--engine-ca-file=/nowhere"],
            "--engine-ca-file /nowhere",
        ),
        (&["--kv-connector=lmcache"], "possible values: nixlv2"),
        (&["--configuration={prot: 1}"], "--prot"),
    ] {
        let Output { status, stderr, .. } = timeout(TIMEOUT, program().args(flags).output()).await.unwrap().unwrap();
        let errors = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(64), "{flags:?}: {errors}");
        assert!(errors.contains(expected), "{flags:?}: {errors}");
    }
}
