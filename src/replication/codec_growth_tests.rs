//! Tests of what can grow: version 4 beside the earlier ones, fields of a later release, and bytes that end too early.

use super::*;

/// The batch of version 3, of another pool.
fn golden_of_version_four() -> Batch {
    Batch { pool: PoolId::new("llama").unwrap(), ..golden_of_version_three() }
}

/// The bytes of version 4 as it was first released.
const GOLDEN_4: &str = "020c027231070a12056c6c616d61080b14010f080706050403020102fb2c01fbc2010114020e0807060504030201010e0d0c\
    0b0a01140710080706050403020118171615141312110114031508070605040302010304000000000000e03f010000011404\
    080807060504030201011409120807060504030201fd5404d402a20100000101140a0e0807060504030201fbe02efbb03601\
    140b1008070605040302010132010400010000";

/// What later releases wrote: the in-flight report has the number of prompts too.
fn golden_4_with_prefills() -> String {
    let before = "010f080706050403020102fb2c01fbc201";
    assert!(GOLDEN_4.contains(before));
    GOLDEN_4.replace(before, "0110080706050403020102fb2c01fbc20101")
}

/// The next wrote the endpoint's speed too.
fn golden_4_with_speed() -> String {
    let before = "0110080706050403020102fb2c01fbc20101";
    golden_4_with_prefills().replace(before, "0112080706050403020102fb2c01fbc201010000")
}

/// What is written now: it has the tokens on their way too.
fn golden_4_grown() -> String {
    let before = "0112080706050403020102fb2c01fbc201010000";
    golden_4_with_speed().replace(before, "0113080706050403020102fb2c01fbc20101000000")
}

/// A batch of format 2 whose bodies and header were appended `more`, as a later release may do.
fn grown(batch: &Batch, more: &[u8]) -> Vec<u8> {
    let mut head = Vec::new();
    writer::text(&batch.origin.0, &mut head);
    [batch.incarnation.0, batch.after, batch.upto].into_iter().for_each(|number| varint(number, &mut head));
    writer::text(batch.pool.as_str(), &mut head);
    head.extend_from_slice(more);
    let mut bytes = vec![FORMAT];
    varint(head.len() as u64, &mut bytes);
    bytes.extend_from_slice(&head);
    varint(batch.facts.len() as u64, &mut bytes);
    let mut before = 0;
    for fact in &batch.facts {
        varint(fact.seq - std::mem::replace(&mut before, fact.seq), &mut bytes);
        varint(age_units(fact.age), &mut bytes);
        let (kind, body, _) = body_of(&fact.record);
        push_part(kind, &[&body, more].concat(), &mut bytes);
    }
    bytes
}

/// A batch of one fact with this kind and body.
fn of_one(format: u8, kind: u8, body: &[u8]) -> Vec<u8> {
    let head = match format {
        FORMAT_FIXED => vec![1, b'a', 1, 0, 9],
        _ => [&[13, 1, b'a', 1, 0, 9, 7][..], b"default"].concat(),
    };
    let mut bytes = [&[format][..], &head, &[1, 9, 0]].concat();
    push_part(kind, body, &mut bytes);
    bytes
}

#[test]
fn the_bytes_of_version_four_change_only_where_bodies_grow() {
    let (before, mut now) = (golden_of_version_four(), golden_of_version_four());
    let Record::InFlight(report) = &mut now.facts[0].record else { unreachable!() };
    report.speed = Some(PrefillSpeed::default());
    assert_eq!(hex(&encode(&before).unwrap()), golden_4_with_prefills());
    assert_eq!(hex(&encode(&now).unwrap()), golden_4_grown());
    for (golden, batch) in [
        (GOLDEN_4.to_owned(), &before),
        (golden_4_with_prefills(), &before),
        (golden_4_with_speed(), &now),
        (golden_4_grown(), &now),
    ] {
        assert_eq!(decode(&bytes_of(&golden)).unwrap(), Decoded { batch: batch.clone(), skipped: 0 });
    }
}

#[test]
fn a_replica_of_an_earlier_version_reads_no_batch_that_names_a_pool() {
    for version in VERSION_MIN..VERSION_GROWING {
        assert_eq!(decode_as(version, &bytes_of(GOLDEN_4)), Err(CodecError::TooNew(FORMAT)));
    }
}

/// Else it would be taken for one of the default pool.
#[test]
fn a_batch_of_a_pool_with_a_name_is_never_written_in_format_one() {
    for version in VERSION_MIN..VERSION_GROWING {
        let bytes = encode_as(version, &golden_of_version_four()).unwrap();
        assert_eq!(hex(&bytes), golden_4_with_prefills());
        assert_eq!(decode_as(version, &bytes), Err(CodecError::TooNew(FORMAT)));
    }
}

#[test]
fn a_batch_of_an_earlier_version_belongs_to_the_default_pool() {
    for golden in [GOLDEN, GOLDEN_2, GOLDEN_3] {
        assert!(decode(&bytes_of(golden)).unwrap().batch.pool.is_default());
    }
}

#[test]
fn a_pool_without_a_valid_name_is_malformed() {
    let batch = golden_of_version_four();
    let bytes = encode(&batch).unwrap();
    for name in [&b"LLAMA"[..], b"ll ma", b"llam-", &[0xff; 5]] {
        let mut bytes = bytes.clone();
        bytes[9..14].copy_from_slice(name);
        assert!(matches!(decode(&bytes), Err(CodecError::Malformed(why)) if why.contains("pool")), "{name:?}");
    }
}

/// Version 3 reads each body to its last byte, so nothing may ever be appended for it.
#[test]
fn an_appended_field_is_an_error_to_earlier_versions_and_ignored_since() {
    let body = [8, 7, 6, 5, 4, 3, 2, 1, 99];
    let bytes = of_one(FORMAT_FIXED, body::UNREACHABLE, &body);
    assert!(matches!(decode_as(3, &bytes), Err(CodecError::Malformed(why)) if why.contains("1 bytes after its end")));
    let decoded = decode(&bytes).unwrap();
    assert_eq!((decoded.skipped, decoded.batch.facts.len()), (0, 1));
}

#[test]
fn a_field_that_is_missing_has_its_default() {
    let body = [8, 7, 6, 5, 4, 3, 2, 1, 3, 200];
    let expected = InFlightReport {
        endpoint: EndpointKey(0x0102_0304_0506_0708),
        requests: 3,
        prefill_tokens: 200,
        decode_tokens: 0,
        prefills: PREFILLS_UNKNOWN,
        speed: None,
        incoming_tokens: 0,
    };
    for format in [FORMAT_FIXED, FORMAT] {
        let decoded = decode(&of_one(format, body::IN_FLIGHT, &body)).unwrap();
        assert_eq!(decoded.batch.facts[0].record, Record::InFlight(expected));
    }
}

/// No release writes such a name.
#[test]
fn an_adapters_name_that_is_too_long_is_malformed() {
    for (bytes, fits) in [(NAME_BYTES_MAX, true), (NAME_BYTES_MAX + 1, false)] {
        let mut body = [[0; 8].as_slice(), &[1, 1], &0.5f64.to_le_bytes(), &[1, 1, 4, 1]].concat();
        writer::text(&"x".repeat(bytes), &mut body);
        body.extend_from_slice(&[0, 0]);
        assert_eq!(decode(&of_one(FORMAT, body::LOAD, &body)).is_ok(), fits, "{bytes}");
    }
}

#[test]
fn a_body_that_is_too_short_is_named_with_its_place() {
    let short = |format, kind, body: &[u8]| decode(&of_one(format, kind, body)).unwrap_err().to_string();
    assert_eq!(
        short(FORMAT, body::IN_FLIGHT, &[1, 2, 3, 4, 5, 6, 7, 8, 3, 251, 1]),
        "not a batch: an in-flight report (fact 9) ends after 11 bytes, within its prompt tokens"
    );
    assert_eq!(
        short(FORMAT_FIXED, body::PLACEMENT_REVOKED, &[0; 9]),
        "not a batch: a withdrawn placement (fact 9) ends after 9 bytes, within its number of kept anchors"
    );
    assert_eq!(
        short(FORMAT, body::PLACEMENT, &[0, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6]),
        "not a batch: a placement (fact 9) ends after 15 bytes, within its anchors"
    );
    assert!(short(FORMAT_FIXED, body::PLACEMENT, &[0; 14]).contains("a placement (fact 9) has anchors of 6 bytes"));
}

proptest! {
    #[test]
    fn what_a_later_release_appends_is_ignored(
        batch in batches(), more in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let bytes = grown(&batch, &more);
        if more.is_empty() {
            prop_assert_eq!(&bytes, &encode(&batch).unwrap());
        }
        prop_assert_eq!(decode(&bytes).unwrap(), Decoded { batch, skipped: 0 });
    }

    #[test]
    fn a_batch_that_ends_early_is_an_error_at_every_byte(batch in batches()) {
        for version in VERSION_MIN..=VERSION {
            let bytes = encode_as(version, &batch).unwrap();
            for end in 0..bytes.len() {
                prop_assert!(decode(&bytes[..end]).is_err(), "{end} of {}", bytes.len());
            }
        }
    }

    /// Every body, cut at every byte: an error that names what was cut, or a record whose appended fields are missing.
    #[test]
    fn a_body_that_ends_early_never_panics(record in records()) {
        let (kind, body, _) = body_of(&record);
        for end in 0..body.len() {
            for format in [FORMAT_FIXED, FORMAT] {
                match decode(&of_one(format, kind, &body[..end])) {
                    Ok(decoded) => prop_assert_eq!(decoded.batch.facts.len(), 1),
                    Err(CodecError::Short { what, .. }) => prop_assert!(what.ends_with("(fact 9)"), "{}", what),
                    Err(CodecError::Malformed(why)) => prop_assert!(why.contains("(fact 9)"), "{}", why),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
        }
    }
}
