//! Tests of the codec.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;
use crate::fleet::{Adapters, CacheGeometry, FailureCounts, InFlight, LoadReport, Missing, PrefillSpeed, Process};
use crate::id::{BlockHash, EndpointKey, SessionKey};
use crate::replication::record::{Binding, CacheCleared, Failing, Placement, PlacementRevoked};

#[path = "codec_growth_tests.rs"]
mod growth;

fn records() -> impl Strategy<Value = Record> {
    let key = any::<u64>().prop_map(EndpointKey);
    let anchors = proptest::collection::vec((0u64..1 << 40).prop_map(BlockHash), 0..50);
    let names = || proptest::collection::vec("[a-z]{1,12}", 0..4);
    let adapters = proptest::option::of((any::<u32>(), names(), names()))
        .prop_map(|some| some.map(|(max, running, waiting)| Adapters { max, running, waiting }));
    let cache = proptest::option::of((any::<u32>(), any::<u64>()))
        .prop_map(|some| some.map(|(block_tokens, blocks)| CacheGeometry { block_tokens, blocks }));
    let gauges = (
        proptest::option::weighted(0.9, any::<u32>()),
        proptest::option::weighted(0.9, any::<u32>()),
        proptest::option::weighted(0.9, 0.0..=1.0f64),
    );
    let report = (gauges, adapters, cache, any::<bool>());
    let report = report.prop_map(|((waiting, running, kv_usage), adapters, cache, awake)| LoadReport {
        waiting: waiting.unwrap_or(0),
        running: running.unwrap_or(0),
        kv_usage: kv_usage.unwrap_or(0.0),
        missing: Missing { waiting: waiting.is_none(), running: running.is_none(), kv_usage: kv_usage.is_none() },
        adapters,
        cache,
        awake,
        process: Process::default(),
    });
    let tokens = || prop_oneof![Just(0), any::<u64>()];
    prop_oneof![
        (key, any::<(u32, u32)>(), any::<u64>(), tokens(), tokens(), any::<(u64, u64)>()).prop_map(
            |(endpoint, (requests, prefills), prefill_tokens, decode_tokens, incoming_tokens, (tokens, millis))| {
                let open = InFlight { requests, prefills, prefill_tokens, decode_tokens, incoming_tokens };
                Record::InFlight(InFlightReport::of(endpoint, open, PrefillSpeed { tokens, millis }))
            },
        ),
        (any::<u64>().prop_map(EndpointKey), anchors)
            .prop_map(|(endpoint, anchors)| Record::Placement(Placement { endpoint, anchors })),
        (any::<u64>().prop_map(EndpointKey), report)
            .prop_map(|(endpoint, report)| Record::Load(EndpointLoad { endpoint, report })),
        (
            any::<u64>().prop_map(EndpointKey),
            proptest::collection::vec((0u64..1 << 40).prop_map(BlockHash), 0..9),
            any::<u16>()
        )
            .prop_map(|(endpoint, anchors, kept)| Record::PlacementRevoked(PlacementRevoked {
                endpoint,
                anchors,
                kept
            })),
        any::<u64>().prop_map(|key| Record::Unreachable(EndpointKey(key))),
        (any::<u64>(), any::<u64>()).prop_map(|(session, endpoint)| Record::Bound(Binding {
            session: SessionKey(session),
            endpoint: EndpointKey(endpoint)
        })),
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(endpoint, started_ms, lost)| Record::CacheCleared(
            CacheCleared { endpoint: EndpointKey(endpoint), started_ms, lost }
        )),
        (any::<u64>(), any::<u32>(), any::<u32>()).prop_map(|(endpoint, a, b)| Record::Failing(Failing {
            endpoint: EndpointKey(endpoint),
            counts: FailureCounts { failures: a.min(b), answers: a.max(b) }
        })),
    ]
}

fn batches() -> impl Strategy<Value = Batch> {
    let facts = proptest::collection::vec((1u64..1000, 0u64..100_000, records()), 0..20);
    let pools = prop_oneof![Just("default".to_owned()), "[a-z0-9]{1,40}"];
    let head = ("[a-z0-9-]{1,40}", any::<u64>(), pools, any::<u64>());
    (head, facts).prop_map(|((origin, incarnation, pool, after), facts)| {
        let mut seq = 0;
        let facts: Vec<Fact> = facts
            .into_iter()
            .map(|(step, age, record)| {
                seq += step;
                Fact { seq, age: AGE_UNIT * age as u32, record }
            })
            .collect();
        let (origin, incarnation, pool) = (ReplicaId(origin), Incarnation(incarnation), PoolId::new(&pool).unwrap());
        Batch { origin, incarnation, pool, after, upto: seq, facts }
    })
}

/// What of a batch a version carries.
fn carried(version: u8, batch: &Batch) -> Batch {
    let mut batch = batch.clone();
    for fact in &mut batch.facts {
        if let (Record::InFlight(report), true) = (&mut fact.record, format_for(version, &batch.pool) < FORMAT) {
            report.prefills = if report.prefill_tokens > 0 { PREFILLS_UNKNOWN } else { 0 };
            report.speed = None;
            report.incoming_tokens = 0;
        }
    }
    batch
}

proptest! {
    #[test]
    fn decoding_returns_what_was_encoded(batch in batches()) {
        let facts = batch.facts.iter().map(|fact| Encoded::of(&fact.record).size()).sum::<usize>();
        let estimate = facts + size_of_empty(&batch.origin, &batch.pool);
        for version in VERSION_MIN..=VERSION {
            let bytes = encode_as(version, &batch).unwrap();
            prop_assert!(bytes.len() <= estimate, "{} of {estimate}", bytes.len());
            prop_assert_eq!(decode(&bytes).unwrap(), Decoded { batch: carried(version, &batch), skipped: 0 });
        }
    }

    #[test]
    fn arbitrary_input_neither_panics_nor_grows(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        for format in [FORMAT_FIXED, FORMAT] {
            let versioned = [&[format], &bytes[..]].concat();
            if let Ok(decoded) = decode(&versioned) {
                prop_assert!(decoded.batch.facts.len() <= versioned.len());
            }
        }
    }

    #[test]
    fn a_flipped_bit_is_an_error_or_another_batch_but_never_a_panic(
        batch in batches(), at in any::<prop::sample::Index>(), bit in 0u8..8,
    ) {
        for version in [3, VERSION] {
            let mut bytes = encode_as(version, &batch).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = decode(&bytes);
        }
    }
}

/// Where prompt tokens are in flight and a report does not say in how many requests.
const PREFILLS_UNKNOWN: u32 = 1;

fn golden() -> Batch {
    let fact = |seq, record| Fact { seq, age: Duration::from_millis(2), record };
    let endpoint = EndpointKey(0x0102_0304_0506_0708);
    let report = LoadReport { waiting: 3, running: 4, kv_usage: 0.5, awake: true, ..LoadReport::default() };
    let two = InFlight { requests: 2, prefills: PREFILLS_UNKNOWN, prefill_tokens: 300, ..InFlight::default() };
    let report_of_two = InFlightReport { speed: None, ..InFlightReport::of(endpoint, two, PrefillSpeed::default()) };
    Batch {
        origin: ReplicaId("r1".into()),
        incarnation: Incarnation(7),
        pool: PoolId::default(),
        after: 10,
        upto: 15,
        facts: vec![
            fact(11, Record::InFlight(report_of_two)),
            fact(12, Record::Placement(Placement { endpoint, anchors: vec![BlockHash(0x0a_0b0c_0d0e)] })),
            fact(14, Record::Load(EndpointLoad { endpoint, report })),
            fact(15, Record::Unreachable(endpoint)),
        ],
    }
}

/// The bytes of version 1, as its release wrote them. They never change: other releases write and read them.
const GOLDEN: &str = "01027231070a0f040b14010c080706050403020102fb2c010114020d08070605040302010e0d0c0b0a021403150807060504030201\
    0304000000000000e03f010000011404080807060504030201";

#[test]
fn the_bytes_of_version_one_never_change() {
    assert_eq!(hex(&encode_as(1, &golden()).unwrap()), GOLDEN);
}

#[test]
fn an_unknown_kind_is_skipped_and_counted() {
    for version in [1, VERSION] {
        let mut bytes = encode_as(version, &golden()).unwrap();
        // The kind of the last fact.
        let at = bytes.len() - 10;
        assert_eq!(bytes[at], body::UNREACHABLE);
        bytes[at] = 200;
        let decoded = decode(&bytes).unwrap();
        assert_eq!((decoded.skipped, decoded.batch.facts.len(), decoded.batch.upto), (1, 3, 15));
    }
}

#[test]
fn a_later_format_is_distinguished_from_garbage() {
    let mut bytes = encode(&golden()).unwrap();
    bytes[0] = FORMAT + 1;
    assert_eq!(decode(&bytes), Err(CodecError::TooNew(3)));
    assert_eq!(decode(&[]), Err(CodecError::Empty));
    assert!(matches!(decode(&[FORMAT, 255, 255]), Err(CodecError::Malformed(_))));
    assert_eq!(decode(&vec![FORMAT; BATCH_BYTES_MAX + 1]), Err(CodecError::TooLarge(BATCH_BYTES_MAX + 1)));
}

#[test]
fn a_fact_beyond_its_batch_is_malformed() {
    let mut batch = golden();
    batch.upto = 14;
    assert!(matches!(decode(&encode(&batch).unwrap()), Err(CodecError::Malformed(_))));
}

/// The golden batch with what version 2 added.
fn golden_of_version_two() -> Batch {
    let mut batch = golden();
    let Record::InFlight(report) = &mut batch.facts[0].record else { unreachable!() };
    report.decode_tokens = 450;
    let binding = Binding { session: SessionKey(0x1112_1314_1516_1718), endpoint: report.endpoint };
    batch.facts.insert(2, Fact { seq: 13, age: Duration::from_millis(2), record: Record::Bound(binding) });
    batch
}

/// The bytes of version 2.
const GOLDEN_2: &str = "01027231070a0f060b14010c080706050403020102fb2c0100000603fbc2010114\
    020d08070605040302010e0d0c0b0a01140710080706050403020118171615141312110114031508070605040302010304000000000000e0\
    3f010000011404080807060504030201";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
}

#[test]
fn the_bytes_of_version_two_never_change() {
    assert_eq!(hex(&encode_as(2, &golden_of_version_two()).unwrap()), GOLDEN_2);
}

#[test]
fn a_batch_of_version_one_is_read_completely() {
    assert_eq!(decode(&bytes_of(GOLDEN)).unwrap(), Decoded { batch: golden(), skipped: 0 });
}

#[test]
fn version_one_skips_what_version_two_added_and_reads_the_rest() {
    assert_eq!(decode_as(1, &bytes_of(GOLDEN_2)).unwrap(), Decoded { batch: golden(), skipped: 2 });
    assert_eq!(decode(&bytes_of(GOLDEN_2)).unwrap(), Decoded { batch: golden_of_version_two(), skipped: 0 });
}

#[test]
fn a_replica_held_to_version_one_writes_its_bytes() {
    let mut batch = golden_of_version_two();
    batch.facts.retain(|fact| within(1, fact.record.clone()).is_some());
    for fact in &mut batch.facts {
        fact.record = within(1, fact.record.clone()).unwrap();
    }
    assert_eq!(encode_as(1, &batch).unwrap(), bytes_of(GOLDEN));
}

#[test]
fn decode_tokens_without_an_in_flight_report_are_malformed() {
    let mut bytes = bytes_of(GOLDEN_2);
    // The kind of the first fact.
    assert_eq!(bytes[10], body::IN_FLIGHT);
    bytes[10] = 200;
    assert!(matches!(decode(&bytes), Err(CodecError::Malformed(_))));
}

/// The batch of version 2 with what version 3 added.
fn golden_of_version_three() -> Batch {
    let mut batch = golden_of_version_two();
    let endpoint = EndpointKey(0x0102_0304_0506_0708);
    let counts = FailureCounts { failures: 12_000, answers: 14_000 };
    let missing = Missing { kv_usage: true, ..Missing::default() };
    let report = LoadReport { waiting: 50, running: 4, missing, awake: true, ..LoadReport::default() };
    let records = [
        Record::CacheCleared(CacheCleared { endpoint, started_ms: 1_795_343_778_900, lost: true }),
        Record::Failing(Failing { endpoint, counts }),
        Record::Load(EndpointLoad { endpoint, report }),
    ];
    let age = Duration::from_millis(2);
    batch.facts.extend((16..).zip(records).map(|(seq, record)| Fact { seq, age, record }));
    batch.upto = 18;
    batch
}

/// The bytes of version 3.
const GOLDEN_3: &str = "01027231070a12090b14010c080706050403020102fb2c0100000603fbc2010114020d08070605040302010e0d0c0b0a01140710080706\
    050403020118171615141312110114031508070605040302010304000000000000e03f0100000114040808070605040302010114091208070605\
    04030201fd5404d402a20100000101140a0e0807060504030201fbe02efbb03601140b1008070605040302010132010400010000";

#[test]
fn the_bytes_of_version_three_never_change() {
    assert_eq!(hex(&encode_as(3, &golden_of_version_three()).unwrap()), GOLDEN_3);
}

#[test]
fn earlier_versions_skip_what_version_three_added_and_read_the_rest() {
    let bytes = bytes_of(GOLDEN_3);
    let Decoded { batch, skipped } = decode_as(2, &bytes).unwrap();
    assert_eq!((batch.facts, skipped), (golden_of_version_two().facts, 3));
    let Decoded { batch, skipped } = decode_as(1, &bytes).unwrap();
    assert_eq!((batch.facts, skipped), (golden().facts, 5));
    assert_eq!(decode(&bytes).unwrap(), Decoded { batch: golden_of_version_three(), skipped: 0 });
}

#[test]
fn more_failures_than_answers_are_malformed() {
    let mut batch = golden_of_version_three();
    let Record::Failing(failing) = &mut batch.facts[6].record else { unreachable!() };
    failing.counts.answers = 11_999;
    assert!(matches!(decode(&encode(&batch).unwrap()), Err(CodecError::Malformed(_))));
}

proptest! {
    #[test]
    fn earlier_versions_read_the_kinds_they_know(batch in batches()) {
        let batch = Batch { pool: PoolId::default(), ..batch };
        for version in VERSION_MIN..=VERSION {
            let bytes = encode_as(version, &batch).unwrap();
            let decoded = decode_as(version, &bytes).unwrap().batch;
            let known = batch.facts.iter().filter_map(|fact| {
                within(version, fact.record.clone()).map(|record| Fact { record, ..fact.clone() })
            });
            prop_assert_eq!(decoded.facts, known.collect::<Vec<_>>());
            prop_assert_eq!(decoded.upto, batch.upto);
        }
    }
}

/// Anchors stand for growing beginnings of one prompt, so none can occur twice.
#[test]
fn repeated_anchors_are_malformed() {
    let anchors = |numbers: &[u64]| numbers.iter().copied().map(BlockHash).collect::<Vec<_>>();
    let endpoint = EndpointKey(1);
    let sent = |record| {
        let facts = vec![Fact { seq: 1, age: Duration::ZERO, record }];
        decode(&encode(&Batch { after: 0, upto: 1, facts, ..golden() }).unwrap()).map(|decoded| decoded.skipped)
    };
    for repeated in [&[7, 7][..], &[1, 2, 1], &[1, 2, 3, 4, 5, 4]] {
        let placement = Record::Placement(Placement { endpoint, anchors: anchors(repeated) });
        assert!(matches!(sent(placement), Err(CodecError::Malformed(why)) if why.contains("repeat")), "{repeated:?}");
        let revoked = Record::PlacementRevoked(PlacementRevoked { endpoint, anchors: anchors(repeated), kept: 0 });
        assert!(matches!(sent(revoked), Err(CodecError::Malformed(_))), "{repeated:?}");
    }
    assert_eq!(sent(Record::Placement(Placement { endpoint, anchors: anchors(&[1, 2, 3]) })), Ok(0));
}
