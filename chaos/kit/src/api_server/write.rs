//! What is written to a fake API server: conditions, and reviews of tokens.
//!
//! Must not know watches.

use std::io;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{Shared, locked, status};

/// The end of a request's head.
const HEAD_END: &[u8] = b"\r\n\r\n";
/// Bytes of a request, at most.
const REQUEST_MAX: usize = 1 << 20;

/// The next request, with its body; `None` when the client has closed the connection.
pub(super) async fn next_request(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::with_capacity(1024);
    let mut wanted = None;
    loop {
        if wanted.is_none()
            && let Some(at) = bytes.windows(HEAD_END.len()).position(|window| window == HEAD_END)
        {
            let end = at + HEAD_END.len();
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().filter_map(|line| line.split_once(':'));
            let length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = length.filter_map(|(_, value)| value.trim().parse::<usize>().ok()).next();
            wanted = Some((head, end, end + length.unwrap_or(0)));
        }
        if let Some((head, end, whole)) = wanted.take() {
            if bytes.len() >= whole {
                return Ok(Some((head, bytes.split_off(end))));
            }
            wanted = Some((head, end, whole));
        }
        if bytes.len() > REQUEST_MAX {
            return Err(io::Error::other("the request is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Answers a request that writes: a status, and what is returned.
    pub(super) fn write(&self, path: &str, body: &[u8]) -> (u16, Value) {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return (400, status(400, "no JSON")) };
        let (answer, version) = {
            let mut store = locked(&self.store);
            let answer = match path.rsplit('/').next() {
                Some("tokenreviews") => Ok(review(&body, |spec| {
                    let token = spec["token"].as_str().unwrap_or_default();
                    let user = json!({ "username": token });
                    let known = store.bearers.contains_key(token);
                    if known {
                        json!({ "authenticated": true, "user": user })
                    } else {
                        json!({ "authenticated": false })
                    }
                })),
                Some("subjectaccessreviews") => Ok(review(&body, |spec| {
                    let bearer = store.bearers.get(spec["user"].as_str().unwrap_or_default());
                    let asked = spec["nonResourceAttributes"] == json!({ "path": "/metrics", "verb": "get" });
                    json!({ "allowed": asked && bearer == Some(&true) })
                })),
                _ => store.apply_status(path, &body),
            };
            let answer = match store.denied.contains(path) {
                true => Err((403, "it is forbidden to create this resource")),
                false => answer,
            };
            (answer, store.version())
        };
        self.changed.send_replace(version);
        match answer {
            Ok(object) => (200, object),
            Err((code, message)) => (code, status(code, message)),
        }
    }
}

/// The review of `body` with its answer.
fn review(body: &Value, answer: impl FnOnce(&Value) -> Value) -> Value {
    let mut reviewed = body.clone();
    reviewed["status"] = answer(&body["spec"]);
    reviewed
}
