//! Gossip: only datagrams sealed with the tier's keys open, plain datagrams are opened and screened in bounded memory,
//! and a page has exactly one base64 form.
#![no_main]

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use murmuration::replication::codec;
use murmuration_actors::gossip::{Opener, screen};

static OPENERS: OnceLock<[Opener; 2]> = OnceLock::new();

/// An opener of plain datagrams, and one with a key that the fuzzer can't guess.
fn openers() -> [Opener; 2] {
    let key = STANDARD.encode([7u8; 32]);
    [None, Some(key.as_str())].map(|keys| Opener::new("fuzz", keys).expect("a key of 32 bytes"))
}

fuzz_target!(|bytes: &[u8]| {
    let [plain, sealed] = OPENERS.get_or_init(openers);
    assert_eq!(sealed.open(bytes), None, "not sealed with the key");
    assert_eq!(plain.open(bytes), plain.open(bytes));
    let _ = screen("me", 1, bytes);
    if let Ok(page) = STANDARD.decode(bytes) {
        assert_eq!(STANDARD.encode(&page).as_bytes(), bytes, "a page has one base64 form");
        if let Ok(decoded) = codec::decode(&page) {
            assert!(decoded.batch.facts.iter().all(|fact| fact.seq <= decoded.batch.upto));
        }
    }
});
