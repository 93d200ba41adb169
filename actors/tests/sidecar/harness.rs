//! A sidecar on loopback, a client of it, and what it reported.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use murmuration::event::{Event, SidecarEvent};
use murmuration_actors::environment::{Environment, Listener};
use murmuration_actors::replica::Tls;
use murmuration_actors::sidecar::{
    AllowedTargets, Deadlines, KvConnector, LegTls, OnPrefillFailure, Sidecar, SidecarLimits, SidecarListeners,
    SidecarSettings, Target,
};
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use murmuration_kit::leg_engine::LegEngine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// The longest wait for anything; a test that waits longer fails.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// A running sidecar.
pub(crate) struct Running {
    pub(crate) at: Vec<SocketAddr>,
    pub(crate) metrics: SocketAddr,
    events: Arc<Mutex<Vec<SidecarEvent>>>,
    _sidecar: Sidecar,
}

/// A client's answer.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A client's connection with one request on it.
pub(crate) struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

/// Settings with short deadlines, for a decode engine.
pub(crate) fn settings(decoder: &LegEngine) -> SidecarSettings {
    let long = Duration::from_secs(15);
    SidecarSettings {
        kv_connector: KvConnector::NixlV2,
        ec_connector: None,
        decoder: target(&decoder.name()),
        ranks: 1,
        port: 8000,
        pod_ip: None,
        allowed: AllowedTargets::read("127.0.0.1:1-65535").unwrap(),
        allowed_file: None,
        allowed_pool: None,
        sampling: false,
        retries: 0,
        backoff: Duration::from_millis(1),
        on_prefill_failure: OnPrefillFailure::Error,
        deadlines: Deadlines {
            connect: long,
            prefill: long,
            encode: long,
            decode: long,
            handoff: long,
            arrival: long,
            arrived: long,
            unread: long,
        },
        limits: SidecarLimits {
            body_bytes: 1 << 20,
            body_memory: 4 << 20,
            answer_bytes: 1 << 20,
            connections: 64,
            idle_per_host: 8,
        },
        mooncake_port: 1,
        sglang_port: 8998,
        p2p_port: 7777,
        p2p_pull: false,
        tls: Tls::Plain,
        legs: [LegTls::Off; 3],
        authorities: Vec::new(),
        drain_timeout: Duration::from_secs(5),
    }
}

pub(crate) fn target(text: &str) -> Target {
    Target::read(text).unwrap()
}

// === impl Running ===

impl Running {
    pub(crate) async fn start(settings: SidecarSettings) -> Self {
        let events = Arc::<Mutex<Vec<SidecarEvent>>>::default();
        let observed = events.clone();
        let telemetry = Telemetry::new("sidecar", Tracer::default()).unwrap();
        let telemetry = telemetry.with_observer(Arc::new(move |event: &Event| {
            if let Event::Sidecar(event) = event {
                observed.lock().unwrap().push(event.clone());
            }
        }));
        let mut ranks = Vec::new();
        for _ in 0..settings.ranks {
            ranks.push(Listener::from(TcpListener::bind("127.0.0.1:0").await.unwrap()));
        }
        let metrics = Some(TcpListener::bind("127.0.0.1:0").await.unwrap().into());
        let listeners = SidecarListeners { ranks, metrics };
        let sidecar = Sidecar::start(Environment::production(), settings, listeners, telemetry).unwrap();
        Self { at: sidecar.ranks().to_vec(), metrics: sidecar.metrics().unwrap(), events, _sidecar: sidecar }
    }

    pub(crate) fn events(&self) -> Vec<SidecarEvent> {
        self.events.lock().unwrap().clone()
    }

    /// What became of hand-offs.
    pub(crate) fn handoffs(&self) -> Vec<&'static str> {
        let result = |event: SidecarEvent| match event {
            SidecarEvent::HandedOver { result, .. } => Some(result),
            _ => None,
        };
        self.events().into_iter().filter_map(result).collect()
    }

    /// Stage and outcome of the legs that ended.
    pub(crate) fn legs(&self) -> Vec<(&'static str, &'static str)> {
        let leg = |event: SidecarEvent| match event {
            SidecarEvent::LegEnded { stage, outcome, .. } => Some((stage, outcome)),
            _ => None,
        };
        self.events().into_iter().filter_map(leg).collect()
    }

    /// Waits until an event is there.
    pub(crate) async fn reports(&self, what: &str, is_it: impl Fn(&SidecarEvent) -> bool) {
        let waiting = async {
            while !self.events().iter().any(&is_it) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(TIMEOUT, waiting).await.is_ok(), "{what} in time; events: {:?}", self.events());
    }

    /// Begins a POST to rank 0.
    pub(crate) async fn begin(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Client {
        Client::send(self.at[0], &format!("POST {path}"), headers, body).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        self.begin(path, headers, body).await.answer().await
    }

    /// A completion with `prefillers` in the picker's header.
    pub(crate) async fn complete(&self, prefillers: &[&LegEngine], body: &str) -> Got {
        self.begin_complete(prefillers, body).await.answer().await
    }

    pub(crate) async fn begin_complete(&self, prefillers: &[&LegEngine], body: &str) -> Client {
        let list = prefillers.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(",");
        self.begin("/v1/completions", &[("x-prefiller-host-port", &list), ("x-request-id", "r1")], body).await
    }
}

// === impl Client ===

impl Client {
    pub(crate) async fn send(to: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!("{line} HTTP/1.1\r\nhost: sidecar\r\n");
        if line.starts_with("POST") {
            head.push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        Self::raw(to, &format!("{head}\r\n{body}")).await
    }

    pub(crate) async fn raw(to: SocketAddr, text: &str) -> Self {
        let mut client = Self { stream: TcpStream::connect(to).await.unwrap(), read: Vec::new() };
        client.write(text).await;
        client
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Writes a byte after each pause, until an answer comes; what came of it.
    pub(crate) async fn trickle(&mut self, pause: Duration) -> String {
        let trickling = async {
            loop {
                tokio::select! {
                    read = self.stream.read_buf(&mut self.read) => {
                        assert!(read.unwrap() > 0, "closed without an answer");
                        return String::from_utf8_lossy(&self.read).into_owned();
                    }
                    () = sleep(pause) => {}
                }
                self.stream.write_all(b"x").await.unwrap();
            }
        };
        timeout(TIMEOUT, trickling).await.expect("an answer in time")
    }

    /// Reads until `text` has come; what came so far.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let reading = async {
            loop {
                let so_far = String::from_utf8_lossy(&self.read).into_owned();
                if so_far.contains(text) {
                    return so_far;
                }
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert!(read > 0, "the connection ended before {text:?}: {so_far}");
            }
        };
        timeout(TIMEOUT, reading).await.unwrap_or_else(|_| panic!("{text:?} in time"))
    }

    /// The whole answer, with its chunks joined.
    pub(crate) async fn answer(self) -> Got {
        self.try_answer().await.expect("a whole answer")
    }

    /// The answer; `None` if it broke off.
    pub(crate) async fn try_answer(mut self) -> Option<Got> {
        let head = self.until("\r\n\r\n").await;
        let (head, _) = head.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut rest = self.read.split_off(head.len() + 4);
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: Option<usize> = length.map(|length| length.parse().unwrap());
        let chunked = head.contains("transfer-encoding: chunked");
        let reading = async {
            loop {
                let body =
                    if chunked { joined(&rest) } else { length.filter(|l| rest.len() >= *l).map(|_| rest.clone()) };
                if body.is_some() || self.stream.read_buf(&mut rest).await.unwrap_or(0) == 0 {
                    return body;
                }
            }
        };
        let body = timeout(TIMEOUT, reading).await.expect("an answer in time")?;
        Some(Got { status, head, body: String::from_utf8(body).unwrap() })
    }
}

/// The chunks of a body that has ended.
fn joined(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = text.windows(2).position(|pair| pair == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&text[..end]).ok()?, 16).ok()?;
        text = text.get(end + 2..)?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(text.get(..length)?);
        text = text.get(length + 2..)?;
    }
}

// === impl Got ===

impl Got {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|why| panic!("{why}: {}", self.body))
    }

    /// The message of an error.
    pub(crate) fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_else(|| panic!("an error: {}", self.body)).to_owned()
    }
}
