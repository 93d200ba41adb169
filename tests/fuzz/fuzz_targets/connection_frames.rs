//! Frames of a client: in whatever pieces they come, what passes is the same; and the real HTTP library takes every request that
//! it took before the repair, with the same fields. The last four bytes of the input choose the pieces.
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

/// What every client says first: the preface and its settings.
const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((frames, sizes)) = input.split_last_chunk::<4>() else { return Corpus::Reject };
    let bytes = [BEGINNING, frames].concat();
    let repaired = passed(&bytes, &[]);
    assert_eq!(repaired, passed(&bytes, sizes));
    assert_eq!(repaired, passed(&repaired, sizes), "what was repaired stays");
    if repaired != bytes {
        let (before, after) = (taken(bytes), taken(repaired));
        assert!(before.iter().all(|(stream, fields)| after.get(stream) == Some(fields)), "{before:?} {after:?}");
    }
    Corpus::Keep
});

/// What passes when the bytes come in pieces of these sizes, in turn; all at once where there are none.
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

/// The requests that the library takes from these bytes, by stream.
fn taken(bytes: Vec<u8>) -> BTreeMap<u32, String> {
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
