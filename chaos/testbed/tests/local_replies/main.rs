//! Envoy's local replies through the picker (`--response-path stay`): each has the status that Envoy gives without a
//! picker, whether the filter that answers stands before the picker or behind it (`docs/local-replies.md`). The first
//! run fetches a real Envoy; if it can't, the test reports that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bootstrap;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use murmuration::plugin::Catalog;
use murmuration_actors::admin::client;
use murmuration_kit::pool::{endpoints_file, with_endpoints};
use murmuration_testbed::local::process::Process;
use murmuration_testbed::local::{Ports, find_envoy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use bootstrap::{Places, bootstrap};

/// A test that waits longer has failed; none passes by waiting.
const PATIENCE: Duration = Duration::from_secs(60);
/// One kind of reply: its name, the request, and the status that Envoy must return, so that no kind passes by chance.
struct Kind {
    name: &'static str,
    request: Vec<u8>,
    status: u16,
    /// The statuses with the picker behind the filters and before them. Equal, unless Envoy gives pickers no say.
    shown: [u16; 2],
}

fn kinds() -> Vec<Kind> {
    let kind =
        |name, request: &str, status| Kind { name, request: request.as_bytes().to_vec(), status, shown: [status; 2] };
    let get =
        |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nhost: testbed\r\n{more}connection: close\r\n\r\n");
    let post = |path: &str, body: &str| {
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nhost: testbed\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let chat = r#"{"model":"tiny","messages":[{"role":"user","content":"hello"}]}"#;
    let preflight = "OPTIONS /v1/models HTTP/1.1\r\nhost: testbed\r\norigin: https://testbed\r\n\
                     access-control-request-method: POST\r\nconnection: close\r\n\r\n";
    let websocket = "GET /v1/realtime HTTP/1.1\r\nhost: testbed\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let unfinished = "POST /v1/completions HTTP/1.1\r\nhost: testbed\r\ncontent-length: 100\r\n\r\n{";
    let large = format!("x-large: {}\r\n", "x".repeat(70_000));
    let mut kinds = vec![
        kind("an ordinary request", &get("/v1/models", ""), 200),
        kind("an ordinary chat", &post("/v1/chat/completions", chat), 200),
        kind("cors preflight", preflight, 200),
        kind("rbac denies", &get("/denied", ""), 403),
        kind("rbac denies a body", &post("/denied", chat), 403),
        kind("websocket refused", websocket, 403),
        kind("headers too large", &get("/v1/models", &large), 431),
        kind("http/1.0 refused", "GET /v1/models HTTP/1.0\r\nhost: testbed\r\n\r\n", 426),
        kind("no host", "GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
        kind("jwt missing", &get("/jwt", ""), 401),
        kind(
            "jwt invalid, with a body",
            &post("/jwt", chat).replace("connection", "authorization: Bearer x.y.z\r\nconnection"),
            401,
        ),
        kind("rate limit (its token)", &get("/limited", ""), 200),
        kind("rate limit", &get("/limited", ""), 429),
        kind("direct response", &get("/direct", ""), 451),
        kind("direct response to a body", &post("/direct", chat), 451),
        kind("redirect", &get("/moved", ""), 301),
        kind("no route", &get("/nowhere", ""), 404),
        kind("upstream refuses", &get("/refused", ""), 503),
        kind("upstream times out", &post("/mute", chat), 504),
        kind("upstream speaks no http", &get("/garbage", ""), 502),
        kind("no upstream", &get("/empty", ""), 503),
        kind("body over a buffer's limit", &post("/buffered", &"x".repeat(5_000)), 413),
        kind("fault aborts", &get("/aborted", ""), 418),
        kind("request never whole", unfinished, 408),
    ];
    for kind in &mut kinds {
        match kind.status {
            // A request that Envoy's HTTP/1 codec refuses ends the connection in the same turn of its event loop. The
            // answer is dropped before its first message is sent to any external processor.
            426 | 431 => kind.shown = [0, 0],
            // A body that comes back in pieces is never whole in Envoy, so a buffer behind the picker bounds nothing.
            413 => kind.shown = [413, 200],
            _ => {}
        }
    }
    kinds
}

/// The status of the answer to these bytes; 0 where none came.
async fn status(at: SocketAddr, request: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(at).await.unwrap();
    // Envoy may answer and close before it has read everything.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read(&mut piece)).await.expect("an answer or an end in time") {
            Ok(read) if read > 0 => answer.extend_from_slice(&piece[..read]),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_local_reply_has_the_status_that_envoy_gives_without_a_picker() {
    let lasting = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let envoy = match find_envoy(None, lasting, &mut |step: &str| eprintln!("{step}")).await {
        Ok(envoy) => envoy,
        Err(why) => return eprintln!("SKIPPED: no Envoy can be had: {why}"),
    };
    let mut servers = JoinSet::new();
    // Bound and never listening: its port refuses, and nobody else can be given it.
    let refusing = TcpSocket::new_v4().unwrap();
    refusing.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut ports = Ports::for_new_testbed();
    let mut free = || ports.free().unwrap();
    let places = Places {
        engine: server(&mut servers, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").await,
        mute: server(&mut servers, b"").await,
        garbage: server(&mut servers, b"SSH-2.0-testbed\r\n").await,
        plain: free(),
        behind: free(),
        before: free(),
        admin: free(),
        picker: free(),
        health: free(),
        replica_admin: free(),
        nobody: refusing.local_addr().unwrap(),
    };
    let setup = Setup::start(&envoy, &places).await;
    let mut wrong = Vec::new();
    for kind in kinds() {
        let plain = status(places.plain, &kind.request).await;
        let (behind, before) = (status(places.behind, &kind.request).await, status(places.before, &kind.request).await);
        eprintln!("{:28} plain {plain}, picker behind the filters {behind}, before them {before}", kind.name);
        if (plain, [behind, before]) != (kind.status, kind.shown) {
            let (status, shown) = (kind.status, kind.shown);
            let expected = format!("{status}, {shown:?} expected");
            wrong.push(format!("{}: {expected}; plain {plain}, behind {behind}, before {before}", kind.name));
        }
    }
    assert!(wrong.is_empty(), "{}\nlogs in {}", wrong.join("\n"), setup.folder.display());
    setup.stop().await;
}

/// Envoy and a replica as processes; dropping it ends them.
struct Setup {
    folder: PathBuf,
    replica: Process,
    envoy: Process,
}

// === impl Setup ===

impl Setup {
    async fn start(envoy: &Path, places: &Places) -> Self {
        let folder = std::env::temp_dir().join(format!("murmuration-local-replies-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let endpoints = write("endpoints.json", &endpoints_file([("engine", places.engine)]));
        let text = "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\nplugins:\n- type: prefix-cache-scorer\n";
        let text = with_endpoints(Some(text), "the configuration", &endpoints, &Catalog::builtin()).unwrap();
        let config = write("config.json", &text);
        let mut serve = Command::new(env!("CARGO_BIN_EXE_testbed"));
        serve.args(["serve", "--bind", "127.0.0.1", "--secure-serving=false", "--exit-with-stdin", "--config-file"]);
        serve.arg(config);
        let ports = [
            ("--grpc-port", places.picker),
            ("--grpc-health-port", places.health),
            ("--metrics-port", places.replica_admin),
        ];
        for (flag, at) in ports {
            serve.args([flag, &at.port().to_string()]);
        }
        let replica = Process::start("replica", serve, &folder.join("replica.log")).unwrap();
        let bootstrap = write("envoy.json", &format!("{:#}\n", bootstrap(places))).display().to_string();
        let flags =
            ["--config-path", &bootstrap, "--concurrency", "1", "--log-level", "warning", "--disable-hot-restart"];
        let envoy = Process::start_guarded("envoy", envoy, &flags, &folder.join("envoy.log")).unwrap();
        let mut setup = Self { folder, replica, envoy };
        for (at, page) in [(places.replica_admin, "/readyz"), (places.admin, "/ready")] {
            setup.wait_for(at, page).await;
        }
        setup
    }

    async fn wait_for(&mut self, at: SocketAddr, page: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !client::fetch(at, page).await.is_ok_and(|(status, _)| status.is_success()) {
            self.replica.still_lives().unwrap();
            self.envoy.still_lives().unwrap();
            assert!(Instant::now() < deadline, "{page} never came; logs in {}", self.folder.display());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn stop(mut self) {
        for process in [&mut self.envoy, &mut self.replica] {
            process.gone().await;
        }
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// A server that sends `answer` to each client that sent something; if it is empty, the connection stays open.
async fn server(servers: &mut JoinSet<()>, answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    servers.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            open.spawn(async move {
                let mut some = [0; 65_536];
                let _ = stream.read(&mut some).await;
                if answer.is_empty() {
                    sleep(PATIENCE).await;
                }
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    at
}
