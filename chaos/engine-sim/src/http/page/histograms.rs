//! The histograms of an engine.
//!
//! Must not know how they were filled.

use super::writer::Writer;
use crate::http::meters::Meters;

/// Writes them in the order of the real page.
pub(super) fn write(page: &mut Writer, model: &str, meters: &Meters) {
    let own = [("engine", "0"), ("model_name", model)];
    let all = [
        ("vllm:request_prompt_tokens", "Number of prefill tokens processed.", &meters.prompt_tokens),
        ("vllm:request_generation_tokens", "Number of generation tokens processed.", &meters.generation_tokens),
        ("vllm:iteration_tokens_total", "Histogram of number of tokens per engine_step.", &meters.step_tokens),
        (
            "vllm:request_max_num_generation_tokens",
            "Histogram of maximum number of requested generation tokens.",
            &meters.max_generation_tokens,
        ),
        ("vllm:request_params_n", "Histogram of the n request parameter.", &meters.n),
        ("vllm:request_params_max_tokens", "Histogram of the max_tokens request parameter.", &meters.max_tokens),
        ("vllm:time_to_first_token_seconds", "Histogram of time to first token in seconds.", &meters.first_token),
        ("vllm:inter_token_latency_seconds", "Histogram of inter-token latency in seconds.", &meters.next_token),
        (
            "vllm:request_time_per_output_token_seconds",
            "Histogram of time_per_output_token_seconds per request.",
            &meters.per_output_token,
        ),
        ("vllm:e2e_request_latency_seconds", "Histogram of e2e request latency in seconds.", &meters.e2e),
        ("vllm:request_queue_time_seconds", "Histogram of time spent in WAITING phase for request.", &meters.queue),
        (
            "vllm:request_inference_time_seconds",
            "Histogram of time spent in RUNNING phase for request.",
            &meters.inference,
        ),
        ("vllm:request_prefill_time_seconds", "Histogram of time spent in PREFILL phase for request.", &meters.prefill),
        ("vllm:request_decode_time_seconds", "Histogram of time spent in DECODE phase for request.", &meters.decode),
        (
            "vllm:request_num_preemptions",
            "Histogram of the number of times a request was preempted.",
            &meters.preemptions,
        ),
        (
            "vllm:request_prefill_kv_computed_tokens",
            "Histogram of new KV tokens computed during prefill (excluding cached tokens).",
            &meters.prefill_computed,
        ),
    ];
    all.iter().for_each(|(name, help, histogram)| page.histogram(name, help, &[(&own, histogram)]));
}
