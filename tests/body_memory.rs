//! Reading a body needs no memory that grows with the body, beside the body itself.
//!
//! A test program of its own, because it measures the memory of the whole process.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use murmuration::dialect::openai::{Api, RequestBody, read_prompt};
use murmuration::prefix::BlockSpec;

const SPEC: BlockSpec = BlockSpec { block_tokens: 64, bytes_per_token: 4, blocks_max: 2048, tier_salt: 0 };

/// The peak resident memory of the process, in KiB.
fn peak() -> u64 {
    murmuration_kit::machine::peak_memory_kib(std::process::id()).unwrap()
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
        read_prompt(body.as_bytes(), &read, "m", SPEC).unwrap();
    }
    let grown = peak() - before;
    assert!(grown < 2 * 1024, "reading bodies of 2 MiB took {grown} KiB");
}
