//! What reading a body costs beside the body itself: nothing that grows with it. A test binary of its own, because it looks
//! at the memory of the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use murmuration::dialect::openai::{Api, RequestBody, read_prompt};
use murmuration::prefix::BlockSpec;

const CUT: BlockSpec = BlockSpec { block_tokens: 64, bytes_per_token: 4, blocks_max: 2048, tier_salt: 0 };

/// The most memory that the process ever held, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_body_of_a_million_tiny_values_needs_no_memory_of_its_own() {
    let many = |item: &str| item.repeat((2 << 20) / item.len());
    let bodies = [
        (Api::Chat, format!(r#"{{"messages":[{}{{}}]}}"#, many("{},"))),
        (Api::Chat, format!(r#"{{"messages":[{{"content":[{}{{}}]}}]}}"#, many("{},"))),
        (Api::Completions, format!(r#"{{"prompt":[{}1]}}"#, many("1,"))),
        (Api::Completions, format!(r#"{{"prompt":[{}[1]]}}"#, many("[1],"))),
        (Api::Other, format!(r#"{{"input":[{}""]}}"#, many("\"\","))),
        (Api::Other, format!(r#"{{{}"model":"m"}}"#, many("\"a\":1,"))),
    ];
    let before = peak();
    for (api, body) in &bodies {
        let read = RequestBody::read(*api, body.as_bytes()).unwrap();
        read_prompt(body.as_bytes(), &read, "m", CUT).unwrap();
    }
    let grown = peak() - before;
    assert!(grown < 2 * 1024, "reading bodies of 2 MiB took {grown} KiB");
}
