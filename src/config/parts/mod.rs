//! Plugin types that are settings rather than scoring code: producers, sources, extractors, parsers, detectors.
//!
//! Each reads llm-d's parameters and returns a part of the blueprint. Must not know positions in the file.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::blueprint::{
    EngineSettings, FileDiscovery, InFlightSettings, Parser, PrefixSettings, RendererSettings, SaturationSettings,
    ScrapeSettings,
};
use crate::plugin::parameters::{self, Fault};
use crate::plugin::registration::NoParameters;

mod discovery;
mod engines;
mod in_flight;
mod metrics;
mod prefix;
mod saturation;
mod tokens;

pub(super) const APPROX_PREFIX_CACHE_PRODUCER: &str = "approx-prefix-cache-producer";
pub(super) const INFLIGHT_LOAD_PRODUCER: &str = "inflight-load-producer";
pub(super) const TOKEN_PRODUCER: &str = "token-producer";
pub(super) const METRICS_DATA_SOURCE: &str = "metrics-data-source";
pub(super) const CORE_METRICS_EXTRACTOR: &str = "core-metrics-extractor";
pub(super) const FILE_DISCOVERY: &str = "file-discovery";
pub(super) const OPENAI_PARSER: &str = "openai-parser";
pub(super) const PASSTHROUGH_PARSER: &str = "passthrough-parser";
pub(super) const UTILIZATION_DETECTOR: &str = "utilization-detector";

/// llm-d's deprecated types that write the headers of stages. They always are written here, so these do nothing.
pub(super) const STAGE_HEADERS: [&str; 2] = ["disagg-headers-handler", "prefill-header-handler"];

/// All these types.
pub(super) const TYPES: [&str; 11] = [
    APPROX_PREFIX_CACHE_PRODUCER,
    INFLIGHT_LOAD_PRODUCER,
    TOKEN_PRODUCER,
    METRICS_DATA_SOURCE,
    CORE_METRICS_EXTRACTOR,
    FILE_DISCOVERY,
    OPENAI_PARSER,
    PASSTHROUGH_PARSER,
    UTILIZATION_DETECTOR,
    STAGE_HEADERS[0],
    STAGE_HEADERS[1],
];

/// A part of the blueprint.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Prefix(PrefixSettings),
    InFlight(InFlightSettings),
    Tokens(Option<RendererSettings>),
    Scrape(ScrapeSettings),
    Engines(EngineSettings),
    Discovery(FileDiscovery),
    Parser(Parser),
    Saturation(SaturationSettings),
    StageHeaders,
}

/// Parameters that are accepted and ignored: the decision knows its stages.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct StageHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill_profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_profile: Option<String>,
}

/// Bytes per token in the estimate; llm-d's figure.
pub(super) const BYTES_PER_TOKEN: u32 = 4;

/// The part of the type `kind` and its parameters with all defaults; `None` if `kind` is no part.
pub(super) fn build(kind: &str, given: &Value) -> Option<Result<(Part, Value), Fault>> {
    Some(match kind {
        APPROX_PREFIX_CACHE_PRODUCER => part(given, prefix::build),
        INFLIGHT_LOAD_PRODUCER => part(given, in_flight::build),
        TOKEN_PRODUCER => part(given, tokens::build),
        METRICS_DATA_SOURCE => part(given, metrics::build),
        CORE_METRICS_EXTRACTOR => part(given, engines::build),
        FILE_DISCOVERY => part(given, discovery::build),
        OPENAI_PARSER => part(given, |_: &mut NoParameters| Ok(Part::Parser(Parser::OpenAi))),
        PASSTHROUGH_PARSER => part(given, |_: &mut NoParameters| Ok(Part::Parser(Parser::Passthrough))),
        UTILIZATION_DETECTOR => part(given, saturation::build),
        kind if STAGE_HEADERS.contains(&kind) => part(given, |_: &mut StageHeaders| Ok(Part::StageHeaders)),
        _ => return None,
    })
}

/// Reads the parameters, lets `build` complete them, and writes them out again.
fn part<P: DeserializeOwned + Serialize + Default>(
    given: &Value,
    build: impl FnOnce(&mut P) -> Result<Part, String>,
) -> Result<(Part, Value), Fault> {
    let mut typed: P = parameters::read(given)?;
    let part = build(&mut typed).map_err(Fault::whole)?;
    Ok((part, parameters::write(&typed)))
}

#[cfg(test)]
mod tests;
