//! HTTP/2 frames of a client: the repaired bytes do not depend on how the input is cut into pieces.
//!
//! After the repair the real HTTP library accepts every request that it accepted before, with the same fields. The last
//! four bytes of the input choose the pieces.
#![no_main]

#[path = "../../../actors/src/connection/block.rs"]
#[allow(unreachable_pub, dead_code)]
mod block;
#[path = "../../../actors/src/connection/frames.rs"]
#[allow(unreachable_pub, dead_code)]
mod frames;
#[path = "../../../actors/src/connection/huffman.rs"]
#[allow(unreachable_pub, dead_code)]
mod huffman;

use std::collections::BTreeMap;

use frames::Frames;
use libfuzzer_sys::{Corpus, fuzz_target};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

/// What every client sends first: the preface and its settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((frames, sizes)) = input.split_last_chunk::<4>() else { return Corpus::Reject };
    let bytes = [PREFACE, frames].concat();
    let repaired = passed(&bytes, &[]);
    assert_eq!(repaired, passed(&bytes, sizes));
    assert_eq!(repaired, passed(&repaired, sizes), "repaired bytes need no further repair");
    if repaired != bytes {
        let (before, after) = (accepted(bytes), accepted(repaired));
        assert!(before.iter().all(|(stream, fields)| after.get(stream) == Some(fields)), "{before:?} {after:?}");
    }
    Corpus::Keep
});

/// The bytes after the repair, when they come in pieces of these sizes, in turn; in one piece if `sizes` is empty.
fn passed(bytes: &[u8], sizes: &[u8]) -> Vec<u8> {
    let (mut walker, mut passed, mut kept, mut rest) = (Frames::new(), Vec::new(), Vec::new(), bytes);
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(rest.len(), |size| (usize::from(*size) + 1).min(rest.len()));
        let (next, after) = rest.split_at(size);
        kept.extend_from_slice(next);
        let walked = walker.walk(&mut kept);
        passed.extend_from_slice(&kept[..walked.passed]);
        kept.drain(..walked.kept_from);
        rest = after;
    }
    passed.extend(kept);
    passed
}

/// The requests that the library accepts from these bytes, by stream.
fn accepted(bytes: Vec<u8>) -> BTreeMap<u32, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (mut client, server) = duplex(1 << 20);
        let mut seen = BTreeMap::new();
        let serving = async {
            let Ok(mut connection) = h2::server::handshake(server).await else { return };
            while let Some(Ok((request, answer))) = connection.accept().await {
                let (head, _) = request.into_parts();
                seen.insert(u32::from(answer.stream_id()), format!("{head:?}"));
            }
        };
        let asking = async {
            client.write_all(&bytes).await.ok();
            client.shutdown().await.ok();
            client.read_to_end(&mut Vec::new()).await.ok();
        };
        tokio::join!(serving, asking);
        seen
    })
}
