//! A request that the decode engine may refuse because it holds too little of the prompt (`cache_hit_threshold`).
//!
//! Must not know what follows a refusal.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::decode::{self, Begun};
use crate::sidecar::answer::Answer;
use crate::sidecar::asked::Asked;
use crate::sidecar::client::LegError;
use crate::sidecar::connector::shared_storage::is_below_threshold;
use crate::sidecar::fields::Fields;
use crate::sidecar::shared::Shared;

/// The decode engine's answer; `None` if it refused. Of a stream the first event is looked at, of any other answer all.
pub(in crate::sidecar) async fn try_decode(
    shared: &Arc<Shared>,
    asked: &Asked,
    connector: &'static str,
    fields: &Fields<'_>,
) -> Option<Answer> {
    let begun = decode::begin(shared, &asked.decoder, connector, asked.decode(fields.text())).await;
    let mut begun = match begun {
        Ok(begun) => begun,
        Err(error) => return Some(decode::failed(shared, &asked.decoder, &error)),
    };
    let mut ready = VecDeque::new();
    if begun.answer.status().is_success() {
        let is_stream = decode::is_stream(begun.answer.headers());
        let look = look(&mut begun, is_stream, shared.settings.limits.answer_bytes, &mut ready);
        let read = match timeout(shared.settings.deadlines.decode, look).await.unwrap_or(Err(LegError::Timeout)) {
            Ok(read) => read,
            Err(error) => {
                begun.timer.end(error.as_str());
                return Some(decode::failed(shared, &asked.decoder, &error));
            }
        };
        if is_below_threshold(&read) {
            begun.timer.end("refused");
            return None;
        }
    }
    Some(decode::pass(shared, begun, ready, None))
}

/// The first event of a stream, or a whole answer. What was read goes to `ready`; at most `limit` bytes are.
async fn look(
    begun: &mut Begun,
    is_stream: bool,
    limit: usize,
    ready: &mut VecDeque<Bytes>,
) -> Result<Vec<u8>, LegError> {
    let mut read = Vec::new();
    while let Some(frame) = begun.answer.body_mut().frame().await {
        let frame = frame.map_err(|error| LegError::Broken(error.to_string()))?;
        let Ok(piece) = frame.into_data() else { continue };
        read.extend_from_slice(&piece);
        ready.push_back(piece);
        if let Some(event) = first_event(&read).filter(|_| is_stream) {
            return Ok(event);
        }
        if read.len() > limit {
            return Ok(Vec::new());
        }
    }
    Ok(if is_stream { Vec::new() } else { read })
}

/// The data of the first event of a stream, once its line has ended.
fn first_event(stream: &[u8]) -> Option<Vec<u8>> {
    let whole = stream.iter().rposition(|byte| *byte == b'\n')?;
    let mut lines = stream[..whole].split(|byte| *byte == b'\n');
    lines.find_map(|line| line.strip_prefix(b"data:")).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_event_is_one_when_its_line_has_ended() {
        for (stream, expected) in [
            (&b"data: {\"a\":1}"[..], None),
            (b"data: {\"a\":1}\n", Some(b" {\"a\":1}".to_vec())),
            (b": keep-alive\n\n", None),
            (b": keep-alive\n\ndata:x\ndata:y\n", Some(b"x".to_vec())),
        ] {
            assert_eq!(first_event(stream), expected);
        }
    }
}
