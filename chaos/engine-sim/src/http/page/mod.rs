//! The metrics page of an engine: the families of a real vLLM 0.32.0 in its order, with its types, helps and labels.
//!
//! Must not know clocks or sockets. Families of what an emulated engine lacks (a Python process, a GPU, other caches)
//! are present and zero, so that a reader finds everything that a real page has.

mod histograms;
mod web;
mod writer;

use murmuration::time::Timestamp;
use writer::Writer;

use super::meters::Meters;
use crate::EngineConfig;
use crate::model::{Counters, EngineModel, Gauges};

/// The page of `model` and `meters`; `started` is the engine's start in seconds since the Unix epoch.
pub(super) fn render(model: &EngineModel, meters: &Meters, started: f64) -> String {
    let mut page = Writer::new(started);
    let name = model.config().model.as_str();
    process(&mut page, started);
    gauges(&mut page, name, &model.gauges());
    counters(&mut page, name, &model.counters(), meters);
    histograms::write(&mut page, name, meters);
    if !model.config().adapters.is_empty() {
        adapters(&mut page, model.config(), meters, started);
    }
    cache(&mut page, model.config());
    web::write(&mut page, meters);
    page.into_text()
}

/// The families of the Python process that a real engine runs in.
fn process(page: &mut Writer, started: f64) {
    let generations: [&[(&str, &str)]; 3] = [&[("generation", "0")], &[("generation", "1")], &[("generation", "2")]];
    let none = generations.map(|labels| (labels, 0.0));
    page.plain_counter("python_gc_objects_collected", "Objects collected during gc", &none);
    page.plain_counter("python_gc_objects_uncollectable", "Uncollectable objects found during GC", &none);
    page.plain_counter("python_gc_collections", "Number of times this generation was collected", &none);
    let python =
        [("implementation", "CPython"), ("major", "3"), ("minor", "11"), ("patchlevel", "7"), ("version", "3.11.7")];
    page.gauge("python_info", "Python platform information", &[(&python, 1.0)]);
    page.gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", &[(&[], 0.0)]);
    page.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", &[(&[], 0.0)]);
    let start = "Start time of the process since unix epoch in seconds.";
    page.gauge("process_start_time_seconds", start, &[(&[], started)]);
    page.plain_counter("process_cpu_seconds", "Total user and system CPU time spent in seconds.", &[(&[], 0.0)]);
    page.gauge("process_open_fds", "Number of open file descriptors.", &[(&[], 0.0)]);
    page.gauge("process_max_fds", "Maximum number of open file descriptors.", &[(&[], 0.0)]);
}

fn gauges(page: &mut Writer, model: &str, gauges: &Gauges) {
    let own = [("engine", "0"), ("model_name", model)];
    for (name, what) in [
        ("vllm:estimated_flops_per_gpu", "floating point operations"),
        ("vllm:estimated_read_bytes_per_gpu", "bytes read from memory"),
        ("vllm:estimated_write_bytes_per_gpu", "bytes written to memory"),
    ] {
        let help = format!("Estimated number of {what} per GPU (for Model Flops Utilization calculations).");
        page.counter(name, &help, &[(&own, 0.0)]);
    }
    let (running, waiting) = (gauges.running as f64, gauges.waiting as f64);
    let help = "Number of requests in model execution batches.";
    page.gauge("vllm:num_requests_running", help, &[(&own, running)]);
    page.gauge("vllm:num_requests_waiting", "Number of requests waiting to be processed.", &[(&own, waiting)]);
    let reason = |reason| [own[0], own[1], ("reason", reason)];
    page.gauge(
        "vllm:num_requests_waiting_by_reason",
        "Number of waiting requests by reason. Reason labels: 'capacity' = waiting for scheduling capacity; 'deferred' \
         = deferred by transient constraints (LoRA budget, KV transfer, blocked status). Sum of all reasons equals \
         vllm:num_requests_waiting.",
        &[(&reason("capacity"), waiting), (&reason("deferred"), 0.0)],
    );
    let state = |state| [own[0], own[1], ("sleep_state", state)];
    page.gauge(
        "vllm:engine_sleep_state",
        "Engine sleep state; awake = 0 means engine is sleeping; awake = 1 means engine is awake; weights_offloaded = 1 \
         means sleep level 1; discard_all = 1 means sleep level 2.",
        &[(&state("awake"), 1.0), (&state("weights_offloaded"), 0.0), (&state("discard_all"), 0.0)],
    );
    let help = "KV-cache usage. 1 means 100 percent usage.";
    page.gauge("vllm:kv_cache_usage_perc", help, &[(&own, gauges.kv_usage)]);
}

fn counters(page: &mut Writer, model: &str, counters: &Counters, meters: &Meters) {
    let own = [("engine", "0"), ("model_name", model)];
    let with = |key, value| [own[0], own[1], (key, value)];
    let Counters { prefix_queries, prefix_hits, prompt_tokens, generation_tokens, rejected, .. } = *counters;
    let (queries, hits, prompt) = (prefix_queries as f64, prefix_hits as f64, prompt_tokens as f64);
    let tokens = |what: &str, cache: &str| format!("{cache}, in terms of number of {what}.");
    let single = [
        ("vllm:prefix_cache_queries", tokens("queried tokens", "Prefix cache queries"), queries),
        ("vllm:prefix_cache_hits", tokens("cached tokens", "Prefix cache hits"), hits),
        ("vllm:external_prefix_cache_queries", tokens("queried tokens", EXTERNAL_QUERIES), 0.0),
        ("vllm:external_prefix_cache_hits", tokens("cached tokens", EXTERNAL_HITS), 0.0),
        ("vllm:mm_cache_queries", tokens("queried items", "Multi-modal cache queries"), 0.0),
        ("vllm:mm_cache_hits", tokens("cached items", "Multi-modal cache hits"), 0.0),
        ("vllm:num_preemptions", "Cumulative number of preemption from the engine.".to_owned(), 0.0),
        ("vllm:prompt_tokens", "Number of prefill tokens processed.".to_owned(), prompt),
    ];
    single.iter().for_each(|(name, help, value)| page.counter(name, help, &[(&own, *value)]));
    page.counter(
        "vllm:prompt_tokens_by_source",
        "Number of prompt tokens by source.",
        &[
            (&with("source", "local_compute"), prompt - hits),
            (&with("source", "local_cache_hit"), hits),
            (&with("source", "external_kv_transfer"), 0.0),
        ],
    );
    let help = "Number of cached prompt tokens (local + external).";
    page.counter("vllm:prompt_tokens_cached", help, &[(&own, hits)]);
    let tier = |tier| with("source", tier);
    page.counter(
        "vllm:prompt_tokens_cached_by_source",
        "Prefix-cache hit tokens by the cache tier that supplied them: device (local HBM), host (offloaded to DRAM), \
         disk, p2p (transferred from another vLLM instance) or external_unspecified. Counted at admission; sums to \
         vllm:prefix_cache_hits + vllm:external_prefix_cache_hits.",
        &[
            (&tier("device"), hits),
            (&tier("host"), 0.0),
            (&tier("p2p"), 0.0),
            (&tier("disk"), 0.0),
            (&tier("external_unspecified"), 0.0),
        ],
    );
    let help = "Number of generation tokens processed.";
    page.counter("vllm:generation_tokens", help, &[(&own, generation_tokens as f64)]);
    // As in a real engine, a request that its client cancelled is not counted as `abort`.
    let finished = |reason| [own[0], ("finished_reason", reason), own[1]];
    page.counter(
        "vllm:request_success",
        "Count of successfully processed requests.",
        &[
            (&finished("stop"), meters.stopped as f64),
            (&finished("length"), meters.at_length as f64),
            (&finished("abort"), 0.0),
            (&finished("error"), 0.0),
            (&finished("repetition"), 0.0),
        ],
    );
    page.counter(
        "vllm:admission_rejections",
        "Number of admission attempts rejected by a queue limit, by reason.",
        &[
            (&[own[1], ("reason", "max_num_queued_reqs")], rejected as f64),
            (&[own[1], ("reason", "max_num_queued_tokens")], 0.0),
        ],
    );
}

const EXTERNAL_QUERIES: &str = "External prefix cache queries from KV connector cross-instance cache sharing";
const EXTERNAL_HITS: &str = "External prefix cache hits from KV connector cross-instance cache sharing";

/// One series for each set of adapters that was seen; its value is the time it was last seen.
fn adapters(page: &mut Writer, config: &EngineConfig, meters: &Meters, started: f64) {
    let max_lora = config.max_loras.to_string();
    let labels = |running, waiting| {
        [("max_lora", max_lora.as_str()), ("running_lora_adapters", running), ("waiting_lora_adapters", waiting)]
    };
    let sets = meters.adapter_sets.iter();
    let series: Vec<_> = sets.map(|((running, waiting), at)| (labels(running, waiting), unix(started, *at))).collect();
    let series: Vec<_> = series.iter().map(|(labels, value)| (labels.as_slice(), *value)).collect();
    page.gauge("vllm:lora_requests_info", "Running stats on lora requests.", &series);
}

fn unix(started: f64, at: Timestamp) -> f64 {
    started + at.since(Timestamp::ZERO).as_secs_f64()
}

fn cache(page: &mut Writer, config: &EngineConfig) {
    let (block, blocks) = (config.block_tokens.to_string(), config.blocks.to_string());
    let tokens = config.block_tokens * config.blocks;
    let (size, concurrency) = (tokens.to_string(), format!("{:?}", tokens as f64 / config.max_model_len as f64));
    let caching = if config.prefix_caching { "True" } else { "False" };
    let labels = [
        ("_block_size_resolved", "True"),
        ("block_size", &block),
        ("cache_dtype", "auto"),
        ("cache_hit_alignment_tokens", "None"),
        ("effective_attention_block_size", &block),
        ("enable_mamba_shared_prefix_checkpoint", "False"),
        ("enable_prefix_caching", caching),
        ("engine", "0"),
        ("gpu_memory_utilization", "0.92"),
        ("hash_block_size", "None"),
        ("is_attention_free", "False"),
        ("kv_cache_dtype_skip_layers", "[]"),
        ("kv_cache_layout", "None"),
        ("kv_cache_max_concurrency", &concurrency),
        ("kv_cache_memory_bytes", "None"),
        ("kv_cache_size_tokens", &size),
        ("kv_offloading_backend", "native"),
        ("kv_offloading_size", "None"),
        ("kv_sharing_fast_prefill", "False"),
        ("mamba_block_size", "None"),
        ("mamba_cache_dtype", "auto"),
        ("mamba_cache_mode", "none"),
        ("mamba_page_size_padded", "None"),
        ("mamba_ssm_cache_dtype", "float32"),
        ("num_cpu_blocks", "None"),
        ("num_gpu_blocks", &blocks),
        ("num_gpu_blocks_override", "None"),
        ("prefix_cache_retention_interval", "0"),
        ("prefix_caching_hash_algo", "sha256"),
        ("prefix_match_unit", "None"),
        ("replayssm_buffer_len", "16"),
        ("skip_page_size_padded", "None"),
        ("sliding_window", "None"),
        ("swa_bounded_replay", "True"),
        ("use_kda_recoverssm", "False"),
        ("use_replayssm", "False"),
        ("user_specified_block_size", "True"),
    ];
    page.gauge("vllm:cache_config_info", "Information of the LLMEngine CacheConfig", &[(&labels, 1.0)]);
}

#[cfg(test)]
#[path = "../tests/page.rs"]
mod tests;
