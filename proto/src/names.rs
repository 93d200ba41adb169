//! Names of headers and metadata keys of the endpoint-picker protocol (v1.0.0) and of llm-d's router.
//!
//! Must not know what they mean to a decision.

/// The decision: `ip:port[,ip:port...]`, as a request header and under [`LB_NAMESPACE`].
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// The endpoint that served, reported by the proxy under [`LB_NAMESPACE`] with the response.
pub const DESTINATION_SERVED: &str = "x-gateway-destination-endpoint-served";
/// Scores of all candidates, under [`LB_NAMESPACE`], only on request.
pub const DESTINATION_SCORES: &str = "x-gateway-destination-endpoint-scores";
/// Metadata namespace of the load balancer.
pub const LB_NAMESPACE: &str = "envoy.lb";
/// Metadata namespace of the subset hint.
pub const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";
/// The subset hint: a list of `ip:port`.
pub const SUBSET: &str = "x-gateway-destination-endpoint-subset";
/// The id of a request; generated when absent.
pub const REQUEST_ID: &str = "x-request-id";
/// Fairness flow of a request, newest spelling first.
pub const FAIRNESS_ID: [&str; 2] = ["x-llm-d-inference-fairness-id", "x-gateway-inference-fairness-id"];
/// Name of the request's `InferenceObjective`, newest spelling first.
pub const OBJECTIVE: [&str; 2] = ["x-llm-d-inference-objective", "x-gateway-inference-objective"];
/// The zone that the request came from, as the gateway knows it.
pub const FORWARDED_ZONE: &str = "x-forwarded-zone";
/// The model to request from the engine, newest spelling first.
pub const MODEL_REWRITE: [&str; 2] = ["x-llm-d-model-name-rewrite", "x-gateway-model-name-rewrite"];
/// Requested time to first token, in ms, newest spelling first.
pub const SLO_TTFT_MS: [&str; 2] = ["x-llm-d-slo-ttft-ms", "x-slo-ttft-ms"];
/// Requested time per output token, in ms, newest spelling first.
pub const SLO_TPOT_MS: [&str; 2] = ["x-llm-d-slo-tpot-ms", "x-slo-tpot-ms"];
/// The cost of a video: frame rate, duration, resolution.
pub const VIDEO: [&str; 3] = ["x-llm-d-video-fps", "x-llm-d-video-duration-seconds", "x-llm-d-video-resolution"];
/// Why a request was refused.
pub const DROPPED_REASON: &str = "x-llm-d-request-dropped-reason";
/// Prefill endpoint for the sidecar, newest spelling first.
pub const PREFILLER: [&str; 2] = ["x-prefiller-host-port", "x-prefiller-url"];
/// Encode endpoints for the sidecar.
pub const ENCODERS: &str = "x-encoder-hosts-ports";
/// Data-parallel rank for the sidecar.
pub const DATA_PARALLEL: &str = "x-data-parallel-host-port";
/// Where the sidecar may pull KV blocks from.
pub const KV_SOURCE: &str = "x-kv-cache-source-host-port";
/// The client's preferences (RFC 7240); [`IF_AVAILABLE`] is one that counts.
pub const PREFER: &str = "prefer";
/// The request may only be served by an endpoint that holds some of its prompt; llm-d's coordinator sets it.
pub const IF_AVAILABLE: &str = "if-available";
/// Marks a response that passed an endpoint picker.
pub const WENT_INTO_RESPONSE: &str = "x-went-into-resp-headers";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context.
pub const TRACESTATE: &str = "tracestate";
