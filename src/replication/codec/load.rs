//! The body of an engine's load report: complete as in version 1, or with missing gauges as in version 3.
//!
//! Must not know batches.

use super::reader::Reader;
use super::writer::{optional, text, varint};
use super::{ADAPTERS_MAX, CodecError, NAME_BYTES_MAX};
use crate::fleet::{Adapters, CacheGeometry, LoadReport, Missing, Process};

/// Appends a report that has all gauges.
pub(super) fn write(report: &LoadReport, body: &mut Vec<u8>) {
    varint(report.waiting.into(), body);
    varint(report.running.into(), body);
    body.extend_from_slice(&report.kv_usage.to_le_bytes());
    write_rest(report, body);
}

/// Appends a report that lacks gauges.
pub(super) fn write_partial(report: &LoadReport, body: &mut Vec<u8>) {
    optional(report.waiting(), body, |waiting, body| varint(waiting.into(), body));
    optional(report.running(), body, |running, body| varint(running.into(), body));
    optional(report.kv_usage(), body, |usage, body| body.extend_from_slice(&usage.to_le_bytes()));
    write_rest(report, body);
}

/// Reads a report that has all gauges.
pub(super) fn read(body: &mut Reader<'_>) -> Result<LoadReport, CodecError> {
    let (waiting, running) = (body.number32("number of waiting requests")?, body.number32("number of running ones")?);
    let kv_usage = body.real("KV use")?;
    read_rest(body, (Some(waiting), Some(running), Some(kv_usage)))
}

/// Reads a report that lacks gauges.
pub(super) fn read_partial(body: &mut Reader<'_>) -> Result<LoadReport, CodecError> {
    let waiting = body.optional("number of waiting requests", |body| body.number32("number of waiting requests"))?;
    let running = body.optional("number of running ones", |body| body.number32("number of running ones"))?;
    let kv_usage = body.optional("KV use", |body| body.real("KV use"))?;
    read_rest(body, (waiting, running, kv_usage))
}

fn write_rest(report: &LoadReport, body: &mut Vec<u8>) {
    body.push(report.awake.into());
    optional(report.adapters.as_ref(), body, |adapters, body| {
        varint(adapters.max.into(), body);
        write_names(&adapters.running, body);
        write_names(&adapters.waiting, body);
    });
    optional(report.cache, body, |cache, body| {
        varint(cache.block_tokens.into(), body);
        varint(cache.blocks, body);
    });
}

fn read_rest(
    body: &mut Reader<'_>,
    (waiting, running, kv_usage): (Option<u32>, Option<u32>, Option<f64>),
) -> Result<LoadReport, CodecError> {
    let missing = Missing { waiting: waiting.is_none(), running: running.is_none(), kv_usage: kv_usage.is_none() };
    let kv_usage = kv_usage.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&kv_usage) {
        return Err(body.malformed("has a KV use that is no share"));
    }
    let awake = body.flag("awake")?;
    let adapters = body.optional("adapters", |body| {
        let max = body.number32("number of adapters")?;
        Ok(Adapters { max, running: read_names(body)?, waiting: read_names(body)? })
    })?;
    let cache = body.optional("cache", |body| {
        Ok(CacheGeometry { block_tokens: body.number32("tokens of a block")?, blocks: body.number("blocks")? })
    })?;
    let (waiting, running) = (waiting.unwrap_or(0), running.unwrap_or(0));
    Ok(LoadReport { waiting, running, kv_usage, missing, adapters, cache, awake, process: Process::default() })
}

fn write_names(names: &[String], body: &mut Vec<u8>) {
    let sent = || names.iter().filter(|name| name.len() <= NAME_BYTES_MAX).take(ADAPTERS_MAX);
    varint(sent().count() as u64, body);
    sent().for_each(|name| text(name, body));
}

fn read_names(body: &mut Reader<'_>) -> Result<Vec<String>, CodecError> {
    let count = body.size("count of adapter names")?;
    if count > ADAPTERS_MAX {
        return Err(body.malformed(format_args!("names {count} adapters, and at most {ADAPTERS_MAX} are sent")));
    }
    let name = |_| match body.text("adapter name")? {
        long if long.len() > NAME_BYTES_MAX => Err(body.malformed(format_args!("has a name of {} bytes", long.len()))),
        name => Ok(name.to_owned()),
    };
    (0..count).map(name).collect()
}
