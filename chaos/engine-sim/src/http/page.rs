//! The metrics page of an engine: a page that was captured from a real vLLM 0.32.0 under load, with this engine's
//! values. So families, their order, types, helps, labels and buckets are the real ones.
//!
//! Must not know clocks or sockets. Families of what an emulated engine lacks (a Python process, a GPU, other caches)
//! are present and zero, so that a reader finds everything that a real page has.

use std::fmt::Write as _;

use murmuration::time::Timestamp;

use super::histogram::Histogram;
use super::meters::Meters;
use crate::EngineConfig;
use crate::model::{Counters, EngineModel, Gauges};

const CAPTURED: &str = include_str!("../../../../tests/fixtures/vllm/metrics-lora-load-5.txt");

/// A family of the captured page.
struct Family {
    name: &'static str,
    /// The lines of its help and type.
    head: &'static str,
    /// The lines of its samples.
    samples: &'static str,
}

/// The labels of a series, sorted by name.
type Labels = Vec<(&'static str, String)>;

/// What a series shows.
enum Shown<'a> {
    Number(f64),
    /// Count and sum.
    Summary(u64, u64),
    Histogram(&'a Histogram),
}

/// What the page is about.
struct Engine<'a> {
    config: &'a EngineConfig,
    gauges: Gauges,
    counters: Counters,
    meters: &'a Meters,
    /// The engine's start in seconds since the Unix epoch.
    started: f64,
}

/// The page of `model` and `meters`; `started` is the engine's start in seconds since the Unix epoch.
pub(super) fn render(model: &EngineModel, meters: &Meters, started: f64) -> String {
    let (config, gauges, counters) = (model.config(), model.gauges(), model.counters());
    let engine = Engine { config, gauges, counters, meters, started };
    let mut page = String::with_capacity(CAPTURED.len());
    families().for_each(|family| engine.family(&family, &mut page));
    page
}

/// The histograms of the page with the upper bounds of their buckets, in rising order, without the infinite one.
pub(super) fn histograms() -> impl Iterator<Item = (&'static str, Vec<f64>)> {
    families().filter(|family| family.head.ends_with(" histogram\n")).map(|family| {
        let bounds = family.samples.split("le=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok());
        // Several series repeat the bounds.
        (family.name, bounds.take_while(|bound: &f64| bound.is_finite()).collect())
    })
}

fn families() -> impl Iterator<Item = Family> {
    CAPTURED.split("# HELP ").skip(1).scan(0, |at, text| {
        let start = *at;
        *at += "# HELP ".len() + text.len();
        let family = &CAPTURED[start..*at];
        let head: usize = family.split_inclusive('\n').take(2).map(str::len).sum();
        let name = text.split(' ').next()?;
        Some(Family { name, head: &family[..head], samples: &family[head..] })
    })
}

// === impl Engine ===

impl<'a> Engine<'a> {
    /// Writes a family. Times of creation are written for series that exist, adapters only if the engine has any.
    fn family(&self, family: &Family, page: &mut String) {
        let counted = family.name.strip_suffix("_created").unwrap_or(family.name);
        let created = counted != family.name;
        let series = self.series(counted).unwrap_or_else(|| {
            let captured = family.samples.lines().map(|line| self.labels(line));
            captured.map(|labels| (Shown::Number(self.value(family.name, &labels)), labels)).collect()
        });
        let no_adapters = family.name == "vllm:lora_requests_info" && self.config.adapters.is_empty();
        if no_adapters || created && series.is_empty() {
            return;
        }
        page.push_str(family.head);
        for (shown, labels) in series {
            let shown = if created { Shown::Number(self.started) } else { shown };
            shown.write(family.name, &labels, page);
        }
    }

    /// The series of a family that are not those of the captured page, or that are no plain numbers.
    fn series(&self, family: &str) -> Option<Vec<(Shown<'a>, Labels)>> {
        let meters = self.meters;
        let sizes = || meters.http_sizes.iter().map(|(handler, sizes)| (sizes, labels([("handler", *handler)])));
        Some(match family {
            "http_requests" | "http_requests_total" => {
                let requests = meters.http_requests.iter().map(|((handler, method, status), count)| {
                    let of = labels([("handler", *handler), ("method", *method), ("status", *status)]);
                    (Shown::Number(*count as f64), of)
                });
                requests.collect()
            }
            "http_request_size_bytes" => {
                sizes().map(|(sizes, of)| (Shown::Summary(sizes.count, sizes.request_bytes), of)).collect()
            }
            "http_response_size_bytes" => {
                sizes().map(|(sizes, of)| (Shown::Summary(sizes.count, sizes.response_bytes), of)).collect()
            }
            "http_request_duration_seconds" => {
                let coarse = meters.http_coarse.iter().map(|((handler, method), histogram)| {
                    (Shown::Histogram(histogram), labels([("handler", *handler), ("method", *method)]))
                });
                coarse.collect()
            }
            "vllm:lora_requests_info" => self.adapters(),
            name => {
                let own = labels([("engine", "0"), ("model_name", &self.config.model)]);
                let own = if name.starts_with("vllm:") { own } else { Labels::new() };
                vec![(Shown::Histogram(meters.histograms.get(name)?), own)]
            }
        })
    }

    /// One series for each set of adapters that was seen; its value is the time it was last seen.
    fn adapters(&self) -> Vec<(Shown<'a>, Labels)> {
        let most = self.config.max_loras.to_string();
        let sets = self.meters.adapter_sets.iter().map(|((running, waiting), at)| {
            let of = [("max_lora", &most), ("running_lora_adapters", running), ("waiting_lora_adapters", waiting)];
            (Shown::Number(self.started + at.since(Timestamp::ZERO).as_secs_f64()), labels(of.map(|(k, v)| (k, &**v))))
        });
        sets.collect()
    }

    /// The labels of a captured sample, with this engine's values.
    fn labels(&self, sample: &'static str) -> Labels {
        let config @ EngineConfig { block_tokens, blocks, max_model_len, .. } = self.config;
        let tokens = block_tokens * blocks;
        let Some((_, pairs)) = sample.split_once('{') else { return Labels::new() };
        // No captured value has a quote in it.
        let pairs = pairs.split("\",").filter_map(|pair| pair.split_once("=\""));
        let ours = pairs.map(|(key, value)| match key {
            "model_name" => (key, config.model.clone()),
            "block_size" | "effective_attention_block_size" => (key, block_tokens.to_string()),
            "enable_prefix_caching" => (key, if config.prefix_caching { "True" } else { "False" }.to_owned()),
            "kv_cache_max_concurrency" => (key, format!("{:?}", tokens as f64 / *max_model_len as f64)),
            "kv_cache_memory_bytes" => (key, "None".to_owned()),
            "kv_cache_size_tokens" => (key, tokens.to_string()),
            "num_gpu_blocks" => (key, blocks.to_string()),
            _ => (key, value.split('"').next().unwrap_or_default().to_owned()),
        });
        ours.collect()
    }

    /// The number of a sample that has the labels of a captured one.
    fn value(&self, name: &str, labels: &Labels) -> f64 {
        let Self { gauges, counters, .. } = self;
        let (queries, hits) = (counters.prefix_queries as f64, counters.prefix_hits as f64);
        let (prompt, received) = (counters.prompt_tokens as f64, counters.received as f64);
        let (waiting, loading) = (gauges.waiting as f64, self.meters.loading as f64);
        let kept = self.meters.kept_blocks as f64 / (self.config.blocks.max(2) - 1) as f64;
        let asked_elsewhere = if self.meters.has_connector { queries - hits } else { 0.0 };
        // The label that tells the samples of this family apart.
        let own = |(key, _): &&(&str, String)| !matches!(*key, "engine" | "model_name");
        let which = labels.iter().find(own).map(|(_, value)| value.as_str()).unwrap_or_default();
        match (name, which) {
            ("python_info" | "vllm:cache_config_info", _) | ("vllm:engine_sleep_state", "awake") => 1.0,
            ("process_start_time_seconds", _) => self.started,
            ("vllm:num_requests_running", _) => gauges.running as f64,
            ("vllm:num_requests_waiting", _) => waiting + loading,
            ("vllm:num_requests_waiting_by_reason", "capacity") => waiting,
            ("vllm:num_requests_waiting_by_reason", "deferred") => loading,
            ("vllm:kv_cache_usage_perc", _) => (gauges.kv_usage + kept).min(1.0),
            ("vllm:prefix_cache_queries_total", _) => queries,
            ("vllm:prefix_cache_hits_total", _) => hits,
            ("vllm:external_prefix_cache_queries_total", _) => asked_elsewhere,
            ("vllm:external_prefix_cache_hits_total", _) => received,
            ("vllm:prompt_tokens_cached_total", _) => hits + received,
            ("vllm:prompt_tokens_total", _) => prompt,
            ("vllm:prompt_tokens_by_source_total", "local_compute") => prompt - hits - received,
            ("vllm:prompt_tokens_by_source_total", "external_kv_transfer") => received,
            ("vllm:prompt_tokens_cached_by_source_total", "p2p") => received,
            ("vllm:prompt_tokens_by_source_total", "local_cache_hit") => hits,
            ("vllm:prompt_tokens_cached_by_source_total", "device") => hits,
            ("vllm:num_preemptions_total", _) => counters.preemptions as f64,
            ("vllm:generation_tokens_total", _) => counters.generation_tokens as f64,
            // As in a real engine, a request that its client cancelled is not counted as `abort`.
            ("vllm:request_success_total", "stop") => self.meters.stopped as f64,
            ("vllm:request_success_total", "length") => self.meters.at_length as f64,
            ("vllm:admission_rejections_total", "max_num_queued_reqs") => counters.rejected as f64,
            _ => 0.0,
        }
    }
}

// === impl Shown ===

impl Shown<'_> {
    /// Writes the samples of the series `name` with these labels.
    fn write(&self, name: &str, labels: &Labels, page: &mut String) {
        let sums = |count: u64, sum: f64, page: &mut String| {
            write(&format!("{name}_count"), labels, count as f64, page);
            write(&format!("{name}_sum"), labels, sum, page);
        };
        match self {
            Self::Number(value) => write(name, labels, *value, page),
            Self::Summary(count, sum) => sums(*count, *sum as f64, page),
            Self::Histogram(histogram) => {
                let mut labels = labels.clone();
                let le = labels.partition_point(|(key, _)| *key < "le");
                labels.insert(le, ("le", String::new()));
                for (bound, count) in histogram.buckets() {
                    labels[le].1 = number(bound);
                    write(&format!("{name}_bucket"), &labels, count as f64, page);
                }
                sums(histogram.count(), histogram.sum(), page);
            }
        }
    }
}

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.into_iter().map(|(key, value)| (key, value.to_owned())).collect()
}

/// Writes a sample as the Python client does.
fn write(name: &str, labels: &Labels, value: f64, page: &mut String) {
    page.push_str(name);
    for (i, (key, value)) in labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(page, "{}{key}=\"{value}\"", if i == 0 { '{' } else { ',' });
    }
    page.push_str(if labels.is_empty() { " " } else { "} " });
    page.push_str(&number(value));
    page.push('\n');
}

/// A number as the Go and Python clients write it: with an exponent from a million on.
fn number(value: f64) -> String {
    if value.is_infinite() {
        return "+Inf".to_owned();
    }
    let plain = format!("{value:?}");
    match plain.find('.') {
        Some(dot) if value > 0.0 && dot > 6 => {
            let mantissa = format!("{}.{}{}", &plain[..1], &plain[1..dot], &plain[dot + 1..]);
            format!("{}e+{:02}", mantissa.trim_end_matches(['0', '.']), dot - 1)
        }
        _ => plain,
    }
}

#[cfg(test)]
#[path = "tests/page.rs"]
mod tests;
