//! Batches of peers: a decoded batch can be encoded for each wire version, and reads back to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use murmuration::replication::codec::{self, VERSION, VERSION_MIN};

fuzz_target!(|bytes: &[u8]| {
    for version in VERSION_MIN..=VERSION {
        let Ok(decoded) = codec::decode_as(version, bytes) else { continue };
        for reader in VERSION_MIN..=VERSION {
            let Ok(encoded) = codec::encode_as(reader, &decoded.batch) else { continue };
            let again = codec::decode(&encoded).expect("an encoded batch can be decoded");
            assert_eq!((&again.batch, again.skipped), (&decoded.batch, 0));
            assert_eq!(codec::encode_as(reader, &again.batch).expect("and encoded again"), encoded);
        }
    }
});
