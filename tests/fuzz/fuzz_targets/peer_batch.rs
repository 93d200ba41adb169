//! Batches of peers: a decoded batch can be encoded for each wire version, and reads back to itself, as far as that
//! version carries it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use murmuration::id::PoolId;
use murmuration::replication::codec::{self, VERSION, VERSION_GROWING, VERSION_MIN};
use murmuration::replication::record::{Batch, Fact};

/// What `reader` can learn of `batch`. Batches of other pools are written to all versions as the newest one.
fn carried(reader: u8, batch: &Batch) -> Batch {
    if reader >= VERSION_GROWING || batch.pool != PoolId::default() {
        return batch.clone();
    }
    // What versions 1 and 2 skip is written to them nevertheless.
    let facts = batch.facts.iter().filter_map(|fact| {
        codec::within(VERSION_GROWING - 1, fact.record.clone()).map(|record| Fact { record, ..fact.clone() })
    });
    Batch { facts: facts.collect(), ..batch.clone() }
}

fuzz_target!(|bytes: &[u8]| {
    for version in VERSION_MIN..=VERSION {
        let Ok(decoded) = codec::decode_as(version, bytes) else { continue };
        for reader in VERSION_MIN..=VERSION {
            let Ok(encoded) = codec::encode_as(reader, &decoded.batch) else { continue };
            let again = codec::decode(&encoded).expect("an encoded batch can be decoded");
            assert_eq!((&again.batch, again.skipped), (&carried(reader, &decoded.batch), 0));
            assert_eq!(codec::encode_as(reader, &again.batch).expect("and encoded again"), encoded);
        }
    }
});
