//! A Kubernetes API server as far as watches need it, that fails as it is told: lists in pages, watches with bookmarks,
//! versions that expire (410), rights that are missing (403), kinds that are not installed (404), connections that are
//! cut, and a server that is away. It takes conditions by server-side apply, and reviews tokens.
//!
//! Must not know what the objects mean.

mod store;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::page_server::{connections, path, serve};
use store::{Query, Store};

/// How often a quiet watch is sent a bookmark.
const BOOKMARK_INTERVAL: Duration = Duration::from_millis(200);

/// A fake API server on loopback. It ends when dropped.
#[derive(Debug)]
pub struct ApiServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The task that serves; none while the server is away.
    serving: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    store: Mutex<Store>,
    /// The version of the newest change.
    changed: watch::Sender<u64>,
    /// Lists and watches that began.
    calls: Mutex<BTreeMap<String, (usize, usize)>>,
}

// === impl ApiServer ===

impl ApiServer {
    /// Starts one without objects.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start() -> io::Result<Self> {
        let shared = Shared { store: Mutex::default(), changed: watch::channel(0).0, calls: Mutex::default() };
        let unbound = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { address: unbound, shared: Arc::new(shared), serving: JoinSet::new() };
        server.comes_back().await?;
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stores the object of `path` (`/api/v1/namespaces/prod/pods`) called `name`.
    pub fn put(&self, path: &str, name: &str, object: Value) {
        self.change(|store| store.put(path, name, Some(object)));
    }

    /// Deletes an object.
    pub fn delete(&self, path: &str, name: &str) {
        self.change(|store| store.put(path, name, None));
    }

    /// Whether the kind of `path` is installed; all are at first.
    pub fn install(&self, path: &str, installed: bool) {
        self.change(|store| match installed {
            true => store.absent.remove(path),
            false => store.absent.insert(path.to_owned()),
        });
    }

    /// How many conditions of the objects of `path` were written.
    pub fn written(&self, path: &str) -> usize {
        locked(&self.shared.store).written.get(path).copied().unwrap_or_default()
    }

    /// The object of `path` called `name`.
    pub fn object(&self, path: &str, name: &str) -> Option<Value> {
        locked(&self.shared.store).object(path, name)
    }

    /// The bearer of `token` is known, and may read `/metrics` or not.
    pub fn knows(&self, token: &str, may_read: bool) {
        locked(&self.shared.store).bearers.insert(token.to_owned(), may_read);
    }

    /// Whether `path` may be read; all may at first. With `/status` behind it: whether conditions may be written.
    pub fn allow(&self, path: &str, allowed: bool) {
        self.change(|store| match allowed {
            true => store.denied.remove(path),
            false => store.denied.insert(path.to_owned()),
        });
    }

    /// Forgets what happened so far: each watch is told that its place has expired.
    pub fn forget_history(&self) {
        self.change(Store::forget);
    }

    /// Breaks all connections. Their clients can come back at once.
    ///
    /// # Errors
    /// When the port is taken meanwhile.
    pub async fn cut(&mut self) -> io::Result<()> {
        self.goes_away().await;
        self.comes_back().await
    }

    /// Breaks all connections and takes no more of them.
    pub async fn goes_away(&mut self) {
        self.serving.shutdown().await;
    }

    /// Takes connections again, at the same address.
    ///
    /// # Errors
    /// When the port is taken meanwhile.
    pub async fn comes_back(&mut self) -> io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.address = listener.local_addr()?;
        let shared = self.shared.clone();
        self.serving.spawn(serve(connections(listener), move |stream| connection(shared.clone(), stream)));
        Ok(())
    }

    /// How many lists of `path` began so far, and how many watches.
    pub fn calls(&self, path: &str) -> (usize, usize) {
        locked(&self.shared.calls).get(path).copied().unwrap_or_default()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Store) -> T) {
        let version = {
            let mut store = locked(&self.shared.store);
            change(&mut store);
            store.version()
        };
        self.shared.changed.send_replace(version);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves one connection until it breaks.
async fn connection(shared: Arc<Shared>, mut stream: TcpStream) -> io::Result<()> {
    while let Some((head, body)) = write::next_request(&mut stream).await? {
        let (path, parameters) = request(&head);
        if !head.starts_with("GET ") {
            locked(&shared.calls).entry(path.clone()).or_default().0 += 1;
            let (code, answered) = shared.write(&path, &body);
            answer(&mut stream, code, &answered).await?;
            continue;
        }
        let query = Query::read(&path, &parameters);
        let watches = parameters.contains_key("watch");
        {
            let mut calls = locked(&shared.calls);
            let (lists, watched) = calls.entry(path.clone()).or_default();
            if watches { *watched += 1 } else { *lists += 1 }
        }
        let refusal = locked(&shared.store).refusal(&path);
        match refusal {
            Some((code, message)) => answer(&mut stream, code, &status(code, message)).await?,
            None if watches => follow(&shared, &mut stream, &query, &parameters).await?,
            None => {
                let list = list(&locked(&shared.store), &query, &parameters);
                answer(&mut stream, 200, &list).await?;
            }
        }
    }
    Ok(())
}

/// The path of a request, and its parameters.
fn request(head: &str) -> (String, BTreeMap<String, String>) {
    let (path, query) = path(head).split_once('?').unwrap_or((path(head), ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    (path.to_owned(), pairs.map(|(key, value)| (key.to_owned(), decoded(value))).collect())
}

/// A parameter without its percent-encoding.
fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16)).unwrap_or_default() as u8;
        plain.push(match byte {
            b'%' => digit() * 16 + digit(),
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8_lossy(&plain).into_owned()
}

/// One page of a list.
fn list(store: &Store, query: &Query, parameters: &BTreeMap<String, String>) -> Value {
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<usize>().ok());
    let (from, limit) = (number("continue").unwrap_or(0), number("limit").unwrap_or(usize::MAX));
    let all = store.list(query);
    let items: Vec<Value> = all.iter().skip(from).take(limit).cloned().collect();
    let next = from.saturating_add(limit);
    let token = if next < all.len() { next.to_string() } else { String::new() };
    let metadata = json!({ "resourceVersion": store.version().to_string(), "continue": token });
    json!({ "kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items })
}

/// Answers a watch until it has lasted as long as was asked for.
async fn follow(
    shared: &Shared,
    stream: &mut TcpStream,
    query: &Query,
    parameters: &BTreeMap<String, String>,
) -> io::Result<()> {
    let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<u64>().ok());
    let mut version = number("resourceVersion").unwrap_or(0);
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let mut changed = shared.changed.subscribe();
    let events = async {
        loop {
            changed.borrow_and_update();
            let (lines, now) = {
                let store = locked(&shared.store);
                (store.since(query, version), store.version())
            };
            let Some(lines) = lines else {
                let expired = json!({ "type": "ERROR", "object": status(410, "too old resource version") });
                return chunk(stream, &expired.to_string()).await;
            };
            for line in lines {
                chunk(stream, &line).await?;
            }
            version = now;
            if timeout(BOOKMARK_INTERVAL, changed.changed()).await.is_err() {
                let metadata = json!({ "resourceVersion": version.to_string() });
                let object = json!({ "kind": "Any", "apiVersion": "v1", "metadata": metadata });
                chunk(stream, &json!({ "type": "BOOKMARK", "object": object }).to_string()).await?;
            }
        }
    };
    let lasts = Duration::from_secs(number("timeoutSeconds").unwrap_or(300));
    if let Ok(ended) = timeout(lasts, events).await {
        ended?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

async fn chunk(stream: &mut (impl AsyncWrite + Unpin), line: &str) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n{line}\n\r\n", line.len() + 1).as_bytes()).await
}

async fn answer(stream: &mut (impl AsyncWrite + Unpin), code: u16, body: &Value) -> io::Result<()> {
    let (body, kind) = (body.to_string(), "content-type: application/json");
    let head = format!("HTTP/1.1 {code} -\r\n{kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all([head, body].concat().as_bytes()).await
}

fn status(code: u16, message: &str) -> Value {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": "" })
}
