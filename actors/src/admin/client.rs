//! Fetches a page from a replica's metrics port, for the command line.
//!
//! Must not know what is on the page.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a fetch may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest page.
const PAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The page at `http://address/path`: its status and text.
///
/// # Errors
/// One sentence with the likely fix, when the page can't be fetched.
pub async fn fetch(address: SocketAddr, path: &str) -> Result<(StatusCode, String), String> {
    fetch_as(address, path, None).await
}

/// The same, with `token` as authorization.
///
/// # Errors
/// See [`fetch`].
pub async fn fetch_as(address: SocketAddr, path: &str, token: Option<&str>) -> Result<(StatusCode, String), String> {
    let fetched = tokio::time::timeout(TIMEOUT, get(address, path, token)).await;
    fetched.unwrap_or_else(|_| Err("it took too long".into())).map_err(|why| {
        format!("can't read http://{address}{path}: {why}; is a replica's --metrics-port there (see --admin)?")
    })
}

async fn get(
    address: SocketAddr,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, String), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let mut request = Request::get(path).header(header::HOST, address.to_string());
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), PAGE_BYTES_MAX).collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::select! {
        biased;
        answer = exchange => answer,
        ended = connection => Err(ended.err().map_or_else(|| "the connection ended".into(), Into::into)),
    }
}
