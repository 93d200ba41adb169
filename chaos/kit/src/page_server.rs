//! HTTP as far as a server of small pages needs it: connections that are kept alive, the head of a request, and an
//! answer of a known length. And engines that serve only a metrics page.
//!
//! It is written by hand because no server library can misbehave as engines do, and because it must be cheap: a bench
//! shares the machine with the replica that it measures. Must not know replicas, or what is on a page.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_stream::{Stream, StreamExt};

/// Bytes of a request's head, at most.
const HEAD_BYTES_MAX: usize = 8 << 10;
/// The end of a request's head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Serves each connection in a task of its own, until the listener ends. Dropping it breaks the connections.
pub async fn serve<C, F>(mut listener: impl Stream<Item = io::Result<C>> + Unpin, connection: impl Fn(C) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut open = JoinSet::new();
    while let Some(Ok(accepted)) = listener.next().await {
        let served = connection(accepted);
        // A broken connection concerns only its client.
        open.spawn(async move { drop(served.await) });
        while open.try_join_next().is_some() {}
    }
}

/// The connections of a TCP listener, without Nagle's delay.
pub fn connections(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Unpin {
    tokio_stream::wrappers::TcpListenerStream::new(listener).map(|accepted| {
        let _ = accepted.as_ref().map(|stream| stream.set_nodelay(true));
        accepted
    })
}

/// The head of the next request without a body; `None` when the client has closed the connection. Its client sends the
/// next request only after the answer, so a read never has two heads.
///
/// # Errors
/// When the connection broke, or the head is too long.
pub async fn next_head(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<String>> {
    let mut head = Vec::with_capacity(1024);
    while !head.ends_with(HEAD_END) {
        if head.len() > HEAD_BYTES_MAX {
            return Err(io::Error::other("the request's head is too long"));
        }
        if connection.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(String::from_utf8_lossy(&head).into_owned()))
}

/// The path of a request with this head.
pub fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// An answer with this status, whole.
pub fn response(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} -\r\nserver: uvicorn\r\ncontent-length: {}\r\n\
         content-type: text/plain; version=1.0.0; charset=utf-8\r\n\r\n{body}",
        body.len()
    )
}

/// What an engine answers to the request with this head; `None` closes the connection without an answer.
pub type Answer = dyn Fn(&str) -> Option<String> + Send + Sync;

/// One engine that serves a page, and counts the answers that it wrote.
pub struct PageEngine {
    /// Where it listens.
    pub address: SocketAddr,
    served: Arc<AtomicU64>,
    _server: JoinSet<()>,
}

// === impl PageEngine ===

impl PageEngine {
    /// Starts an engine on loopback. It stops when dropped.
    ///
    /// # Errors
    /// A sentence, when it can't listen.
    pub async fn start(answer: Arc<Answer>) -> Result<Self, String> {
        let cant = |why| format!("can't listen on loopback: {why}; are there enough file descriptors?");
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(cant)?;
        let address = listener.local_addr().map_err(cant)?;
        let served = Arc::new(AtomicU64::new(0));
        let (mut server, count) = (JoinSet::new(), served.clone());
        server.spawn(serve(connections(listener), move |mut stream| {
            let (answer, count) = (answer.clone(), count.clone());
            async move {
                while let Some(head) = next_head(&mut stream).await? {
                    let Some(text) = answer(&head) else { break };
                    stream.write_all(text.as_bytes()).await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }
        }));
        Ok(Self { address, served, _server: server })
    }

    /// Answers that it has written so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for PageEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageEngine").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_kept_until_there_is_no_answer_and_answers_are_counted() {
        let answer = |head: &str| (path(head) == "/metrics").then(|| response(200, "a page"));
        let engine = PageEngine::start(Arc::new(answer)).await.unwrap();
        let mut stream = TcpStream::connect(engine.address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
            let mut read = vec![0; response(200, "a page").len()];
            stream.read_exact(&mut read).await.unwrap();
            assert!(read.starts_with(b"HTTP/1.1 200") && read.ends_with(b"\r\n\r\na page"));
        }
        stream.write_all(b"GET /other HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).await.unwrap(), 0);
        assert_eq!(engine.served(), 2);
    }
}
