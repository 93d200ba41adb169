//! What gossip carries for this tier: the text of a page, as `actors/src/gossip/delivery.rs` reads it.
#![no_main]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::{Corpus, fuzz_target};
use murmuration::share::codec;

fuzz_target!(|text: &[u8]| -> Corpus {
    let Ok(bytes) = STANDARD.decode(text) else { return Corpus::Reject };
    assert_eq!(STANDARD.encode(&bytes).as_bytes(), text, "a page has one spelling");
    if let Ok(decoded) = codec::decode(&bytes) {
        let known = decoded.batch.facts.iter().all(|fact| fact.seq <= decoded.batch.upto);
        assert!(known && !decoded.batch.origin.0.is_empty());
    }
    Corpus::Keep
});
