//! Batches as bytes. Only the codec knows the wire layout of a batch and of a record.
//!
//! Must not know lanes. Decoding is total: any input yields a batch or a [`CodecError`]. Two releases can share a tier:
//! kinds of a newer version are skipped and counted, and fields that it appended are ignored.
//!
//! ```text
//! format 1   1 | origin incarnation after upto | count | facts                    versions 1 to 3; the default pool
//! format 2   2 | length: origin incarnation after upto pool ... | count | facts   since version 4
//! a fact     difference to the number before | age in 100 us | kind | length: body ...
//! ```
//!
//! What follows a length can grow in format 2: a later version appends fields where the dots are. Versions 1 to 3 read
//! format 1 alone, and each body to its last byte. They are written what they read (`legacy`).

mod body;
pub(super) mod legacy;
mod load;
mod reader;
pub(super) mod writer;

use std::time::Duration;

use crate::id::{Incarnation, PoolId, ReplicaId};
use crate::replication::encoded::{self, Encoded, EncodedFact, Header};
use crate::replication::record::{Batch, EndpointLoad, Fact, InFlightReport, Record};
use body::Lists;
use reader::{Reader, What};
use writer::varint;

/// The first byte of a batch since version 4: the layout of the batch itself. Earlier versions write 1.
pub const FORMAT: u8 = 2;
/// The version written here, and the highest that is read completely: 1 knows the kinds up to `PLACEMENT_REVOKED`, 2
/// those up to `BOUND`, 3 all; 4 has batches that name their pool, and bodies that grow.
pub const VERSION: u8 = 4;
/// The lowest version that is still understood.
pub const VERSION_MIN: u8 = 1;
/// The first version that reads format 2, and fields that were appended.
pub const VERSION_GROWING: u8 = 4;
/// Bytes of a batch at most: no replica sends more, and more is not read.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of a replica's name at most.
pub const NAME_BYTES_MAX: usize = 256;
/// Adapter names of each kind in a load report, at most.
pub const ADAPTERS_MAX: usize = 64;
/// The format of versions 1 to 3.
const FORMAT_FIXED: u8 = 1;
const AGE_UNIT: Duration = Duration::from_micros(100);
/// Bytes that a fact has at least: its head and an empty body.
const FACT_BYTES_MIN: usize = 4;
/// Facts that room is made for before they are read: those of a full batch by stream.
const FACTS_RESERVED_MAX: usize = 1_024;

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
    /// Bytes are missing.
    #[error("not a batch: {what} ends after {bytes} bytes, within its {field}")]
    Short {
        /// What ends: a kind of record with the fact's number, or a part of the batch.
        what: String,
        /// How many bytes it has.
        bytes: usize,
        /// The field that is not complete.
        field: &'static str,
    },
    /// The layout or a value is invalid.
    #[error("not a batch: {0}")]
    Malformed(String),
}

/// `record` as wire version `version` can carry it; `None` when it can't.
pub fn within(version: u8, record: Record) -> Option<Record> {
    match record {
        Record::InFlight(open) if version < VERSION_GROWING => {
            let decode_tokens = if version < 2 { 0 } else { open.decode_tokens };
            let prefills = body::prefills_unknown(open.prefill_tokens);
            Some(Record::InFlight(InFlightReport { decode_tokens, prefills, speed: None, incoming_tokens: 0, ..open }))
        }
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

/// The bytes of `batch`, as this release writes them.
///
/// # Errors
/// [`CodecError::TooLarge`] when they would be more than [`BATCH_BYTES_MAX`].
pub fn encode(batch: &Batch) -> Result<Vec<u8>, CodecError> {
    encode_as(VERSION, batch)
}

/// The bytes of `batch` for a reader of wire version `version`. Versions 1 to 3 can't read a batch of another pool than
/// the default one: it is written in format 2 for them too, and never as one of the default pool.
///
/// # Errors
/// [`CodecError::TooLarge`] when they would be more than [`BATCH_BYTES_MAX`].
pub fn encode_as(version: u8, batch: &Batch) -> Result<Vec<u8>, CodecError> {
    let facts = batch.facts.iter().map(|fact| {
        let encoded = Encoded::of(&fact.record);
        EncodedFact { seq: fact.seq, age: fact.age, encoded }
    });
    let Batch { origin, incarnation, pool, after, upto, .. } = batch;
    let header = Header { origin, incarnation: *incarnation, pool, after: *after, upto: *upto };
    encoded::write(version, header, &facts.collect::<Vec<_>>())
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
    let (&format, rest) = bytes.split_first().ok_or(CodecError::Empty)?;
    if bytes.len() > BATCH_BYTES_MAX {
        return Err(CodecError::TooLarge(bytes.len()));
    }
    let grows = version >= VERSION_GROWING;
    let mut batch = Reader::new(What { name: "a batch", fact: None }, rest);
    let (header, lists) = match format {
        FORMAT_FIXED => (read_header(&mut batch, PoolId::default())?, Lists::ToTheEnd),
        FORMAT if grows => {
            let bytes = batch.size("header's length")?;
            let mut header = Reader::new(What { name: "a batch's header", fact: None }, batch.take(bytes, "header")?);
            let mut of_default = read_header(&mut header, PoolId::default())?;
            let pool = header.text("pool")?;
            of_default.pool =
                PoolId::new(pool).map_err(|why| header.malformed(format_args!("names no pool: {why}")))?;
            header.end(grows)?;
            (of_default, Lists::Counted)
        }
        0 => return Err(CodecError::Malformed("format 0 was never written".into())),
        newer => return Err(CodecError::TooNew(newer)),
    };
    let mut decoded = Decoded { batch: header, skipped: 0 };
    let (count, mut seq) = (batch.size("count of facts")?, 0u64);
    decoded.batch.facts.reserve(count.min(batch.left() / FACT_BYTES_MIN).min(FACTS_RESERVED_MAX));
    for _ in 0..count {
        seq = seq.wrapping_add(batch.number("number of a fact")?);
        if seq > decoded.batch.upto {
            return Err(batch.malformed(format_args!("up to {} has a fact numbered {seq}", decoded.batch.upto)));
        }
        let age = batch.number("age of a fact")?;
        let kind = batch.byte("kind of a fact")?;
        let bytes = batch.size("length of a fact")?;
        let bytes = batch.take(bytes, "body of a fact")?;
        let Some((_, name)) = body::known(kind).filter(|(since, _)| *since <= version) else {
            decoded.skipped += 1;
            continue;
        };
        let mut body = Reader::new(What { name, fact: Some(seq) }, bytes);
        if kind == body::DECODE_TOKENS {
            complete(decoded.batch.facts.last_mut().filter(|last| last.seq == seq), &mut body)?;
        } else {
            let record = body::read(kind, &mut body, lists, grows)?;
            let age = AGE_UNIT.saturating_mul(u32::try_from(age).unwrap_or(u32::MAX));
            decoded.batch.facts.push(Fact { seq, age, record });
        }
        body.end(grows)?;
    }
    batch.end(false)?;
    Ok(decoded)
}

/// Bytes of a batch without facts, at most.
pub fn size_of_empty(origin: &ReplicaId, pool: &PoolId) -> usize {
    origin.0.len() + pool.as_str().len() + 64
}

/// The format that a reader of wire version `version` is written facts about `pool` in.
pub fn format_for(version: u8, pool: &PoolId) -> u8 {
    if version < VERSION_GROWING && pool.is_default() { FORMAT_FIXED } else { FORMAT }
}

/// An age in the unit of the wire.
pub(super) fn age_units(age: Duration) -> u64 {
    age.as_secs().saturating_mul(10_000).saturating_add(u64::from(age.subsec_micros() / AGE_UNIT.subsec_micros()))
}

/// The kind and the body of `record` in version 4, and the number of parts that it has in versions 1 to 3.
pub(super) fn body_of(record: &Record) -> (u8, Vec<u8>, u8) {
    let mut body = Vec::with_capacity(64);
    let kind = body::write(record, &mut body);
    let parts = if matches!(record, Record::InFlight(report) if report.decode_tokens > 0) { 2 } else { 1 };
    (kind, body, parts)
}

/// Appends a kind, and a body after its length.
pub(super) fn push_part(kind: u8, body: &[u8], bytes: &mut Vec<u8>) {
    bytes.push(kind);
    varint(body.len() as u64, bytes);
    bytes.extend_from_slice(body);
}

/// The fields of a header that all formats have, as a batch of `pool` without facts.
fn read_header(header: &mut Reader<'_>, pool: PoolId) -> Result<Batch, CodecError> {
    let origin = header.text("origin")?;
    if origin.is_empty() || origin.len() > NAME_BYTES_MAX {
        return Err(header.malformed(format_args!("has an origin's name of {} bytes", origin.len())));
    }
    let origin = ReplicaId(origin.to_owned());
    let incarnation = Incarnation(header.number("incarnation")?);
    let (after, upto) = (header.number("first number")?, header.number("last number")?);
    Ok(Batch { origin, incarnation, pool, after, upto, facts: Vec::new() })
}

/// Adds decode tokens to the in-flight report before them.
fn complete(last: Option<&mut Fact>, body: &mut Reader<'_>) -> Result<(), CodecError> {
    let Some(Fact { record: Record::InFlight(report), .. }) = last else {
        return Err(body.malformed("follow no in-flight report"));
    };
    report.decode_tokens = body.number("number")?;
    Ok(())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
