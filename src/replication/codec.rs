//! Batches as bytes: a format byte, then bincode. Only the codec knows the wire layout of a record.
//!
//! Must not know lanes. Decoding is total: any input yields a batch or a [`CodecError`]. Kinds of a newer version are
//! skipped and counted, so two releases can share a tier. A version adds kinds; the layout of a batch, and of every
//! kind that was ever written, stays.

mod load;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::fleet::FailureCounts;
use crate::id::{BlockHash, EndpointKey, Incarnation, ReplicaId, SessionKey};
use crate::prefix::anchors;
use crate::replication::encoded::{self, Encoded, EncodedFact, Header};
use crate::replication::record::{
    Batch, Binding, CacheCleared, EndpointLoad, Fact, Failing, InFlightReport, Placement, PlacementRevoked, Record,
};
use load::{WireLoad, WirePartialLoad};

/// The first byte of every batch: the layout of the batch itself.
pub const FORMAT: u8 = 1;
/// The version written here, and the highest that is read completely: 1 knows the kinds up to `PLACEMENT_REVOKED`, 2
/// those up to `BOUND`, 3 all.
pub const VERSION: u8 = 3;
/// The lowest version that is still understood.
pub const VERSION_MIN: u8 = 1;
/// Bytes of a batch at most: no replica sends more, and more is not read.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of a replica's name at most.
pub const NAME_BYTES_MAX: usize = 256;
/// Adapter names of each kind in a load report, at most.
pub const ADAPTERS_MAX: usize = 64;
/// Bytes that an anchor takes.
const ANCHOR_BYTES: usize = anchors::BITS as usize / 8;

/// A decoded batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The batch.
    pub batch: Batch,
    /// Facts that were skipped, as their kinds are not known here.
    pub skipped: usize,
}

/// Why bytes are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There are no bytes.
    #[error("an empty message")]
    Empty,
    /// The format of a later release.
    #[error("format {0} of a batch, and this replica reads up to {FORMAT}; it will once it is upgraded too")]
    TooNew(u8),
    /// More than any replica sends.
    #[error("{0} bytes, and a batch has at most {BATCH_BYTES_MAX}")]
    TooLarge(usize),
    /// The layout or a value is invalid.
    #[error("not a batch: {0}")]
    Malformed(String),
}

#[derive(Deserialize)]
struct WireBatch<'a> {
    origin: &'a str,
    incarnation: u64,
    after: u64,
    upto: u64,
    #[serde(borrow)]
    facts: Vec<WireFact<'a>>,
}

#[derive(Deserialize)]
struct WireFact<'a> {
    /// The difference to the number of the fact before.
    seq: u64,
    /// In units of 100 us.
    age: u64,
    kind: u8,
    /// A slice of its own, so that an unknown kind can be skipped; borrowed, as there are many.
    body: &'a [u8],
}

const IN_FLIGHT: u8 = 1;
const PLACEMENT: u8 = 2;
const LOAD: u8 = 3;
const UNREACHABLE: u8 = 4;
const PLACEMENT_REVOKED: u8 = 5;
/// Not a fact but the rest of the preceding [`IN_FLIGHT`], whose body can't grow: version 1 reads it to its last byte.
const DECODE_TOKENS: u8 = 6;
const BOUND: u8 = 7;
const CACHE_CLEARED: u8 = 9;
const FAILING: u8 = 10;
/// A [`LOAD`] that lacks gauges. Earlier versions can't tell an unknown number from zero, so they must not read it.
const PARTIAL_LOAD: u8 = 11;
const AGE_UNIT: Duration = Duration::from_micros(100);

fn config() -> bincode::config::Configuration<
    bincode::config::LittleEndian,
    bincode::config::Varint,
    bincode::config::Limit<BATCH_BYTES_MAX>,
> {
    bincode::config::standard().with_limit::<BATCH_BYTES_MAX>()
}

/// `record` as wire version `version` can carry it; `None` when it can't.
pub fn within(version: u8, record: Record) -> Option<Record> {
    match record {
        Record::InFlight(open) if version < 2 => Some(Record::InFlight(InFlightReport { decode_tokens: 0, ..open })),
        Record::Bound(_) if version < 2 => None,
        Record::CacheCleared(_) | Record::Failing(_) if version < 3 => None,
        Record::Load(EndpointLoad { report, .. }) if version < 3 && !report.missing.is_none() => None,
        record => Some(record),
    }
}

/// Whether a replica that reads the wire format from `lowest` to `highest` and one that reads it up to `version` have a
/// version in common.
pub fn in_common(lowest: u32, highest: u32, version: u8) -> bool {
    lowest <= u32::from(version) && u32::from(VERSION_MIN) <= highest
}

/// The bytes of `batch`.
///
/// # Errors
/// [`CodecError::TooLarge`] when they would be more than [`BATCH_BYTES_MAX`].
pub fn encode(batch: &Batch) -> Result<Vec<u8>, CodecError> {
    let facts = batch.facts.iter().map(|fact| {
        let encoded = Encoded::of(&fact.record)?;
        Ok(EncodedFact { seq: fact.seq, age: fact.age, encoded })
    });
    let facts = facts.collect::<Result<Vec<_>, CodecError>>()?;
    let Batch { origin, incarnation, after, upto, .. } = batch;
    encoded::write(Header { origin, incarnation: *incarnation, after: *after, upto: *upto }, &facts)
}

/// An age in the unit of the wire.
pub(super) fn age_units(age: Duration) -> u64 {
    age.as_secs().saturating_mul(10_000).saturating_add(u64::from(age.subsec_micros() / AGE_UNIT.subsec_micros()))
}

/// The kinds and bodies of the wire facts for `record`: one, and the decode tokens that version 1 can't carry.
pub(super) fn parts_of(record: &Record) -> Result<Vec<(u8, Vec<u8>)>, CodecError> {
    let mut parts = vec![body_of(record)?];
    if let Some(tokens) = decode_tokens_of(record) {
        parts.push((DECODE_TOKENS, write(&tokens)?));
    }
    Ok(parts)
}

/// The batch in `bytes`.
///
/// # Errors
/// See [`CodecError`].
pub fn decode(bytes: &[u8]) -> Result<Decoded, CodecError> {
    decode_as(VERSION, bytes)
}

/// The batch in `bytes` as a replica of wire version `version` reads it.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_as(version: u8, bytes: &[u8]) -> Result<Decoded, CodecError> {
    let (&format, bytes) = bytes.split_first().ok_or(CodecError::Empty)?;
    if bytes.len() >= BATCH_BYTES_MAX {
        return Err(CodecError::TooLarge(bytes.len() + 1));
    }
    match format {
        FORMAT => {}
        0 => return Err(CodecError::Malformed("format 0 was never written".into())),
        newer => return Err(CodecError::TooNew(newer)),
    }
    let wire: WireBatch<'_> = read(bytes)?;
    if wire.origin.is_empty() || wire.origin.len() > NAME_BYTES_MAX {
        return Err(CodecError::Malformed(format!("an origin's name of {} bytes", wire.origin.len())));
    }
    let (mut facts, mut skipped, mut seq) = (Vec::<Fact>::with_capacity(wire.facts.len()), 0, 0u64);
    for fact in wire.facts {
        seq = seq.wrapping_add(fact.seq);
        if seq > wire.upto {
            return Err(CodecError::Malformed(format!("a fact numbered {seq} in a batch up to {}", wire.upto)));
        }
        if since(fact.kind).is_none_or(|first| first > version) {
            skipped += 1;
            continue;
        }
        if fact.kind == DECODE_TOKENS {
            complete(facts.last_mut().filter(|last| last.seq == seq), fact.body)?;
            continue;
        }
        match record_of(fact.kind, fact.body)? {
            Some(record) => facts.push(Fact {
                seq,
                age: AGE_UNIT.saturating_mul(u32::try_from(fact.age).unwrap_or(u32::MAX)),
                record,
            }),
            None => skipped += 1,
        }
    }
    let (origin, incarnation) = (ReplicaId(wire.origin.to_owned()), Incarnation(wire.incarnation));
    Ok(Decoded { batch: Batch { origin, incarnation, after: wire.after, upto: wire.upto, facts }, skipped })
}

/// Bytes of a batch without facts, at most.
pub fn size_of_empty(origin: &ReplicaId) -> usize {
    origin.0.len() + 64
}

/// The version that introduced a kind; `None` for an unknown kind.
fn since(kind: u8) -> Option<u8> {
    match kind {
        IN_FLIGHT..=PLACEMENT_REVOKED => Some(1),
        DECODE_TOKENS | BOUND => Some(2),
        CACHE_CLEARED | FAILING | PARTIAL_LOAD => Some(3),
        _ => None,
    }
}

fn decode_tokens_of(record: &Record) -> Option<u64> {
    match record {
        Record::InFlight(report) if report.decode_tokens > 0 => Some(report.decode_tokens),
        _ => None,
    }
}

/// Adds decode tokens to the in-flight report before them.
fn complete(last: Option<&mut Fact>, body: &[u8]) -> Result<(), CodecError> {
    let Some(Fact { record: Record::InFlight(report), .. }) = last else {
        return Err(CodecError::Malformed("decode tokens that follow no in-flight report".into()));
    };
    report.decode_tokens = read(body)?;
    Ok(())
}

fn body_of(record: &Record) -> Result<(u8, Vec<u8>), CodecError> {
    Ok(match record {
        Record::InFlight(InFlightReport { endpoint, requests, prefill_tokens, .. }) => {
            (IN_FLIGHT, write(&(endpoint.0.to_le_bytes(), requests, prefill_tokens))?)
        }
        Record::Removed(endpoint) => return body_of(&Record::InFlight(InFlightReport::none(*endpoint))),
        Record::Placement(Placement { endpoint, anchors }) => {
            let mut body = endpoint.0.to_le_bytes().to_vec();
            push_anchors(&mut body, anchors);
            (PLACEMENT, body)
        }
        Record::PlacementRevoked(PlacementRevoked { endpoint, anchors, kept }) => {
            let mut body = endpoint.0.to_le_bytes().to_vec();
            body.extend_from_slice(&kept.to_le_bytes());
            push_anchors(&mut body, anchors);
            (PLACEMENT_REVOKED, body)
        }
        Record::Load(EndpointLoad { endpoint, report }) if !report.missing.is_none() => {
            (PARTIAL_LOAD, write(&(endpoint.0.to_le_bytes(), WirePartialLoad::of(report)))?)
        }
        Record::Load(EndpointLoad { endpoint, report }) => {
            (LOAD, write(&(endpoint.0.to_le_bytes(), WireLoad::of(report)))?)
        }
        Record::Unreachable(endpoint) => (UNREACHABLE, endpoint.0.to_le_bytes().to_vec()),
        Record::Bound(Binding { session, endpoint }) => {
            (BOUND, [endpoint.0.to_le_bytes(), session.0.to_le_bytes()].concat())
        }
        Record::CacheCleared(CacheCleared { endpoint, started_ms, lost }) => {
            (CACHE_CLEARED, write(&(endpoint.0.to_le_bytes(), started_ms, lost))?)
        }
        Record::Failing(Failing { endpoint, counts }) => {
            (FAILING, write(&(endpoint.0.to_le_bytes(), counts.failures, counts.answers))?)
        }
    })
}

fn record_of(kind: u8, body: &[u8]) -> Result<Option<Record>, CodecError> {
    let torn = |what: &str| CodecError::Malformed(format!("{what} of {} bytes", body.len()));
    Ok(Some(match kind {
        IN_FLIGHT => {
            let (endpoint, requests, prefill_tokens): ([u8; 8], u32, u64) = read(body)?;
            Record::InFlight(InFlightReport { endpoint: key(endpoint), requests, prefill_tokens, decode_tokens: 0 })
        }
        PLACEMENT => {
            let (endpoint, rest) = body.split_first_chunk::<8>().ok_or_else(|| torn("a placement"))?;
            let anchors = anchors_in(rest, "a placement")?;
            Record::Placement(Placement { endpoint: key(*endpoint), anchors })
        }
        PLACEMENT_REVOKED => {
            let (endpoint, rest) = body.split_first_chunk::<8>().ok_or_else(|| torn("a withdrawn placement"))?;
            let (kept, rest) = rest.split_first_chunk::<2>().ok_or_else(|| torn("a withdrawn placement"))?;
            let anchors = anchors_in(rest, "a withdrawn placement")?;
            Record::PlacementRevoked(PlacementRevoked {
                endpoint: key(*endpoint),
                anchors,
                kept: u16::from_le_bytes(*kept),
            })
        }
        LOAD => {
            let (endpoint, load): ([u8; 8], WireLoad) = read(body)?;
            let report = load.report().ok_or_else(|| torn("a load report with impossible numbers"))?;
            Record::Load(EndpointLoad { endpoint: key(endpoint), report })
        }
        UNREACHABLE => {
            let endpoint = <[u8; 8]>::try_from(body).map_err(|_| torn("an endpoint's key"))?;
            Record::Unreachable(key(endpoint))
        }
        BOUND => {
            let (endpoint, session) = body.split_first_chunk::<8>().ok_or_else(|| torn("a binding"))?;
            let session = <[u8; 8]>::try_from(session).map_err(|_| torn("a binding"))?;
            Record::Bound(Binding { session: SessionKey(u64::from_le_bytes(session)), endpoint: key(*endpoint) })
        }
        CACHE_CLEARED => {
            let (endpoint, started_ms, lost): ([u8; 8], u64, bool) = read(body)?;
            Record::CacheCleared(CacheCleared { endpoint: key(endpoint), started_ms, lost })
        }
        FAILING => {
            let (endpoint, failures, answers): ([u8; 8], u32, u32) = read(body)?;
            if failures > answers {
                return Err(torn("more failures than answers"));
            }
            Record::Failing(Failing { endpoint: key(endpoint), counts: FailureCounts { failures, answers } })
        }
        PARTIAL_LOAD => {
            let (endpoint, load): ([u8; 8], WirePartialLoad) = read(body)?;
            let report = load.report().ok_or_else(|| torn("a partial load report with impossible numbers"))?;
            Record::Load(EndpointLoad { endpoint: key(endpoint), report })
        }
        _ => return Ok(None),
    }))
}

fn key(bytes: [u8; 8]) -> EndpointKey {
    EndpointKey(u64::from_le_bytes(bytes))
}

fn push_anchors(body: &mut Vec<u8>, anchors: &[BlockHash]) {
    anchors.iter().for_each(|anchor| body.extend_from_slice(&anchor.0.to_le_bytes()[..ANCHOR_BYTES]));
}

/// The anchors of `what`. No prompt has one anchor twice: a repeated one would make a run of the index its own parent.
fn anchors_in(bytes: &[u8], what: &str) -> Result<Vec<BlockHash>, CodecError> {
    if !bytes.len().is_multiple_of(ANCHOR_BYTES) {
        return Err(CodecError::Malformed(format!("{what} with anchors of {} bytes", bytes.len())));
    }
    let found: Vec<BlockHash> = bytes.chunks_exact(ANCHOR_BYTES).map(anchor).collect();
    if anchors::distinct(&found) < found.len() {
        return Err(CodecError::Malformed(format!("{what} whose anchors repeat")));
    }
    Ok(found)
}

fn anchor(bytes: &[u8]) -> BlockHash {
    BlockHash(bytes.iter().rev().fold(0, |hash, &byte| hash << 8 | u64::from(byte)))
}

pub(super) fn write(value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_to_vec(value, config()).map_err(|error| CodecError::Malformed(error.to_string()))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    match bincode::serde::borrow_decode_from_slice(bytes, config()) {
        Ok((value, read)) if read == bytes.len() => Ok(value),
        Ok((_, read)) => Err(CodecError::Malformed(format!("{} bytes after its end", bytes.len() - read))),
        Err(error) => Err(CodecError::Malformed(error.to_string())),
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
