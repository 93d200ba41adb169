//! Plugin types that are settings rather than scoring code: producers, sources, extractors, parsers, detectors.
//!
//! Each reads llm-d's parameters and returns a part of the blueprint. Must not know positions in the file.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::blueprint::Parser;
use crate::plugin::parameters::{self, Fault};
use crate::plugin::registration::NoParameters;

mod discovery;
mod engines;
mod in_flight;
mod metrics;
mod part;
mod prefix;
mod saturation;
mod tokens;
mod topology;

pub(super) use part::Part;

/// Cuts prompts into chained blocks and remembers which endpoint holds which. It is added where a plugin reads matches.
pub(super) const APPROX_PREFIX_CACHE_PRODUCER: &str = "approx-prefix-cache-producer";
/// Counts what is dispatched to each endpoint and not finished. It is added where a plugin reads in-flight load.
pub(super) const INFLIGHT_LOAD_PRODUCER: &str = "inflight-load-producer";
/// Says how many tokens a prompt has: counted by a vLLM that renders prompts, else an estimate of one token for each
/// four bytes, for every model.
pub(super) const TOKEN_PRODUCER: &str = "token-producer";
/// Reads each engine's metrics page at an interval.
pub(super) const METRICS_DATA_SOURCE: &str = "metrics-data-source";
/// Says which gauges of an engine's page are its load. llm-d's five kinds of engine are always known.
pub(super) const CORE_METRICS_EXTRACTOR: &str = "core-metrics-extractor";
/// Reads the pool's endpoints from a file instead of Kubernetes.
pub(super) const FILE_DISCOVERY: &str = "file-discovery";
/// Reads model and prompt of every JSON API (OpenAI's, Anthropic's, vLLM's own), on any path.
pub(super) const OPENAI_PARSER: &str = "openai-parser";
/// Claims every path and reads nothing: such requests are routed by load alone.
pub(super) const PASSTHROUGH_PARSER: &str = "passthrough-parser";
/// Says how full the pool is: the mean over its endpoints of the larger of queue and KV use, each divided by its
/// threshold. From 1 on, requests with a priority below 0 are refused.
pub(super) const UTILIZATION_DETECTOR: &str = "utilization-detector";

/// Says which labels of an endpoint name its host, rack, zone and region, for plugins that compare places. Without one
/// the defaults count.
pub(super) const TOPOLOGY_EXTRACTOR: &str = "topology-extractor";

/// Does nothing: the headers of a decision's stages are always written. Deprecated in llm-d.
pub(super) const DISAGG_HEADERS_HANDLER: &str = "disagg-headers-handler";
/// Does nothing: the header of the prefill stage is always written. Deprecated in llm-d.
pub(super) const PREFILL_HEADER_HANDLER: &str = "prefill-header-handler";

/// All these types.
pub(super) const TYPES: [&str; 12] = [
    APPROX_PREFIX_CACHE_PRODUCER,
    INFLIGHT_LOAD_PRODUCER,
    TOKEN_PRODUCER,
    METRICS_DATA_SOURCE,
    CORE_METRICS_EXTRACTOR,
    FILE_DISCOVERY,
    OPENAI_PARSER,
    PASSTHROUGH_PARSER,
    UTILIZATION_DETECTOR,
    TOPOLOGY_EXTRACTOR,
    DISAGG_HEADERS_HANDLER,
    PREFILL_HEADER_HANDLER,
];

/// Parameters that are accepted and ignored: the decision knows its stages.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct StageHeaders {
    /// Accepted and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill_profile: Option<String>,
    /// Accepted and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_profile: Option<String>,
}

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
        TOPOLOGY_EXTRACTOR => part(given, topology::build),
        DISAGG_HEADERS_HANDLER | PREFILL_HEADER_HANDLER => part(given, |_: &mut StageHeaders| Ok(Part::StageHeaders)),
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
