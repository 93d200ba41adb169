//! The kinds of records and the layout of their bodies.
//!
//! Must not know batches. A body is written as version 4 reads it, and [`super::legacy`] derives what versions 1 to 3
//! read. A later version appends fields to a body, and never changes or removes one. Who reads a body ignores what
//! follows the fields that it knows. A field that a body lacks has the default that is stated where it is read.

use super::reader::Reader;
use super::writer::varint;
use super::{CodecError, load};
use crate::fleet::{FailureCounts, PrefillSpeed};
use crate::id::{BlockHash, EndpointKey, SessionKey};
use crate::prefix::anchors;
use crate::replication::record::{
    Binding, CacheCleared, EndpointLoad, Failing, InFlightReport, Placement, PlacementRevoked, Record,
};

pub(super) const IN_FLIGHT: u8 = 1;
pub(super) const PLACEMENT: u8 = 2;
pub(super) const LOAD: u8 = 3;
pub(super) const UNREACHABLE: u8 = 4;
pub(super) const PLACEMENT_REVOKED: u8 = 5;
/// Not a fact but the decode tokens of the preceding [`IN_FLIGHT`], for versions 2 and 3: their bodies can't grow.
pub(super) const DECODE_TOKENS: u8 = 6;
pub(super) const BOUND: u8 = 7;
pub(super) const CACHE_CLEARED: u8 = 9;
pub(super) const FAILING: u8 = 10;
/// A [`LOAD`] that lacks gauges. Versions 1 and 2 can't tell an unknown number from zero, so they must not read it.
pub(super) const PARTIAL_LOAD: u8 = 11;

/// Bytes that an anchor takes.
pub(super) const ANCHOR_BYTES: usize = anchors::BITS as usize / 8;

/// How a body's list ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// With the body, as in format 1.
    ToTheEnd,
    /// After as many items as its count says, as in format 2.
    Counted,
}

/// The version that introduced a kind, and its name for errors; `None` for an unknown kind.
pub(super) fn known(kind: u8) -> Option<(u8, &'static str)> {
    Some(match kind {
        IN_FLIGHT => (1, "an in-flight report"),
        PLACEMENT => (1, "a placement"),
        LOAD => (1, "a load report"),
        UNREACHABLE => (1, "an unreachable endpoint"),
        PLACEMENT_REVOKED => (1, "a withdrawn placement"),
        DECODE_TOKENS => (2, "decode tokens"),
        BOUND => (2, "a session binding"),
        CACHE_CLEARED => (3, "a cleared cache"),
        FAILING => (3, "counts of failures"),
        PARTIAL_LOAD => (3, "a partial load report"),
        _ => return None,
    })
}

/// How many requests prompt tokens are taken to be of, where a report does not say it.
pub(super) fn prefills_unknown(prefill_tokens: u64) -> u32 {
    u32::from(prefill_tokens > 0)
}

/// Appends the body of `record`; returns its kind.
pub(super) fn write(record: &Record, body: &mut Vec<u8>) -> u8 {
    match record {
        Record::InFlight(report) => {
            write_in_flight(report, body);
            IN_FLIGHT
        }
        Record::Removed(endpoint) => write(&Record::InFlight(InFlightReport::none(*endpoint)), body),
        Record::Placement(Placement { endpoint, anchors }) => {
            write_key(*endpoint, body);
            write_anchors(anchors, body);
            PLACEMENT
        }
        Record::PlacementRevoked(PlacementRevoked { endpoint, anchors, kept }) => {
            write_key(*endpoint, body);
            body.extend_from_slice(&kept.to_le_bytes());
            write_anchors(anchors, body);
            PLACEMENT_REVOKED
        }
        Record::Load(EndpointLoad { endpoint, report }) => {
            write_key(*endpoint, body);
            if report.missing.is_none() {
                load::write(report, body);
                LOAD
            } else {
                load::write_partial(report, body);
                PARTIAL_LOAD
            }
        }
        Record::Unreachable(endpoint) => {
            write_key(*endpoint, body);
            UNREACHABLE
        }
        Record::Bound(Binding { session, endpoint }) => {
            write_key(*endpoint, body);
            body.extend_from_slice(&session.0.to_le_bytes());
            BOUND
        }
        Record::CacheCleared(CacheCleared { endpoint, started_ms, lost }) => {
            write_key(*endpoint, body);
            varint(*started_ms, body);
            body.push((*lost).into());
            CACHE_CLEARED
        }
        Record::Failing(Failing { endpoint, counts }) => {
            write_key(*endpoint, body);
            varint(counts.failures.into(), body);
            varint(counts.answers.into(), body);
            FAILING
        }
    }
}

/// The record of a known kind other than [`DECODE_TOKENS`].
pub(super) fn read(kind: u8, body: &mut Reader<'_>, lists: Lists, grows: bool) -> Result<Record, CodecError> {
    let endpoint = EndpointKey(u64::from_le_bytes(body.array("endpoint")?));
    Ok(match kind {
        IN_FLIGHT => Record::InFlight(read_in_flight(endpoint, body, grows)?),
        PLACEMENT => Record::Placement(Placement { endpoint, anchors: read_anchors(body, lists)? }),
        PLACEMENT_REVOKED => {
            let kept = u16::from_le_bytes(body.array("number of kept anchors")?);
            Record::PlacementRevoked(PlacementRevoked { endpoint, kept, anchors: read_anchors(body, lists)? })
        }
        LOAD => Record::Load(EndpointLoad { endpoint, report: load::read(body)? }),
        PARTIAL_LOAD => Record::Load(EndpointLoad { endpoint, report: load::read_partial(body)? }),
        UNREACHABLE => Record::Unreachable(endpoint),
        BOUND => Record::Bound(Binding { session: SessionKey(u64::from_le_bytes(body.array("session")?)), endpoint }),
        CACHE_CLEARED => {
            let (started_ms, lost) = (body.number("start")?, body.flag("loss")?);
            Record::CacheCleared(CacheCleared { endpoint, started_ms, lost })
        }
        FAILING => {
            let (failures, answers) = (body.number32("failures")?, body.number32("answers")?);
            if failures > answers {
                return Err(body.malformed("has more failures than answers"));
            }
            Record::Failing(Failing { endpoint, counts: FailureCounts { failures, answers } })
        }
        other => return Err(body.malformed(format_args!("is of kind {other}, which can't be read"))),
    })
}

fn write_in_flight(report: &InFlightReport, body: &mut Vec<u8>) {
    let InFlightReport { endpoint, requests, prefill_tokens, decode_tokens, prefills, speed, incoming_tokens } = report;
    write_key(*endpoint, body);
    varint((*requests).into(), body);
    varint(*prefill_tokens, body);
    varint(*decode_tokens, body);
    varint((*prefills).into(), body);
    let Some(PrefillSpeed { tokens, millis }) = speed else { return };
    varint(*tokens, body);
    varint(*millis, body);
    varint(*incoming_tokens, body);
}

fn read_in_flight(endpoint: EndpointKey, body: &mut Reader<'_>, grows: bool) -> Result<InFlightReport, CodecError> {
    let (requests, prefill_tokens) = (body.number32("number of requests")?, body.number("prompt tokens")?);
    let prefills = prefills_unknown(prefill_tokens);
    let mut report = InFlightReport {
        endpoint,
        requests,
        prefill_tokens,
        decode_tokens: 0,
        prefills,
        speed: None,
        incoming_tokens: 0,
    };
    // In the body since version 4. Later releases of it append the others, each after those before it.
    if grows && body.left() > 0 {
        report.decode_tokens = body.number("decode tokens")?;
    }
    if grows && body.left() > 0 {
        report.prefills = body.number32("number of prefills")?;
    }
    if grows && body.left() > 0 {
        report.speed = Some(read_speed(body)?);
    }
    if grows && body.left() > 0 {
        report.incoming_tokens = body.number("incoming tokens")?;
    }
    Ok(report)
}

fn read_speed(body: &mut Reader<'_>) -> Result<PrefillSpeed, CodecError> {
    Ok(PrefillSpeed { tokens: body.number("tokens of speed")?, millis: body.number("time of speed")? })
}

fn write_key(endpoint: EndpointKey, body: &mut Vec<u8>) {
    body.extend_from_slice(&endpoint.0.to_le_bytes());
}

fn write_anchors(anchors: &[BlockHash], body: &mut Vec<u8>) {
    varint(anchors.len() as u64, body);
    anchors.iter().for_each(|anchor| body.extend_from_slice(&anchor.0.to_le_bytes()[..ANCHOR_BYTES]));
}

/// Anchors. No prompt has one anchor twice: a repeated one would make a run of the index its own parent.
fn read_anchors(body: &mut Reader<'_>, lists: Lists) -> Result<Vec<BlockHash>, CodecError> {
    let bytes = match lists {
        Lists::ToTheEnd => body.rest(),
        Lists::Counted => {
            let count = body.size("count of anchors")?;
            body.take(count.saturating_mul(ANCHOR_BYTES), "anchors")?
        }
    };
    if !bytes.len().is_multiple_of(ANCHOR_BYTES) {
        return Err(body.malformed(format_args!("has anchors of {} bytes", bytes.len())));
    }
    let found: Vec<BlockHash> = bytes.chunks_exact(ANCHOR_BYTES).map(anchor).collect();
    if anchors::distinct(&found) < found.len() {
        return Err(body.malformed("has anchors that repeat"));
    }
    Ok(found)
}

fn anchor(bytes: &[u8]) -> BlockHash {
    BlockHash(bytes.iter().rev().fold(0, |hash, &byte| hash << 8 | u64::from(byte)))
}
