//! Series under former names of llm-d's metrics, which its dashboards, and alerts of users, still ask for. Each is made
//! from the family with the newer name when a page is written, so nothing is counted twice or held for it.
//!
//! Must not know what a family means. Former names that are counted with other labels than the newer ones:
//! [`super::legacy_names`].

use std::collections::BTreeMap;

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::families::ListedFamily;

/// A former name.
struct Twin {
    name: &'static str,
    /// The newer one.
    of: &'static str,
    /// The labels that the former one has, and how it calls them. Series that differ in others are added up.
    labels: &'static [(&'static str, &'static str)],
}

/// The label of a process with several pools.
const POOL: (&str, &str) = ("inference_pool", "inference_pool");
const MODELS: &[(&str, &str)] = &[("model_name", "model_name"), ("target_model_name", "target_model_name")];
const PLUGIN: &[(&str, &str)] = &[("plugin_name", "plugin_name"), ("plugin_type", "plugin_type")];

const fn of_models(name: &'static str, of: &'static str) -> Twin {
    Twin { name, of, labels: MODELS }
}

const TWINS: [Twin; 19] = [
    Twin {
        name: "inference_extension_info",
        of: "llm_d_epp_info",
        labels: &[("commit", "commit"), ("build_ref", "build_ref")],
    },
    Twin {
        name: "inference_extension_model_rewrite_decisions_total",
        of: "llm_d_epp_model_rewrite_decisions_total",
        labels: &[
            ("model_rewrite_name", "model_rewrite_name"),
            ("model_name", "model_name"),
            ("target_model", "target_model"),
        ],
    },
    Twin {
        name: "inference_extension_prefix_indexer_hit_bytes",
        of: "llm_d_epp_prefix_indexer_hit_bytes",
        labels: PLUGIN,
    },
    Twin {
        name: "inference_extension_prefix_indexer_hit_ratio",
        of: "llm_d_epp_prefix_indexer_hit_ratio",
        labels: PLUGIN,
    },
    Twin { name: "inference_extension_prefix_indexer_size", of: "llm_d_epp_prefix_indexer_size", labels: PLUGIN },
    Twin {
        name: "inference_extension_scheduler_attempts_total",
        of: "llm_d_epp_scheduler_attempts_total",
        labels: &[
            ("status", "status"),
            ("target_model_name", "target_model_name"),
            ("endpoint_name", "pod_name"),
            ("namespace", "namespace"),
            ("port", "port"),
        ],
    },
    Twin {
        name: "inference_extension_scheduler_e2e_duration_seconds",
        of: "llm_d_epp_scheduler_e2e_duration_seconds",
        labels: &[],
    },
    of_models("inference_objective_input_tokens", "llm_d_epp_request_input_tokens"),
    of_models("inference_objective_normalized_time_per_output_token_seconds", "llm_d_epp_request_ntpot_seconds"),
    of_models("inference_objective_output_tokens", "llm_d_epp_request_output_tokens"),
    of_models("inference_objective_prompt_cached_tokens", "llm_d_epp_request_cached_tokens"),
    of_models("inference_objective_request_sizes", "llm_d_epp_request_size_bytes"),
    of_models("inference_objective_request_tpot_seconds", "llm_d_epp_request_streaming_tpot_seconds"),
    of_models("inference_objective_request_ttft_seconds", "llm_d_epp_request_ttft_seconds"),
    of_models("inference_objective_response_sizes", "llm_d_epp_response_size_bytes"),
    Twin {
        name: "inference_pool_average_running_requests",
        of: "llm_d_epp_average_running_requests",
        labels: &[("name", "name")],
    },
    Twin {
        name: "inference_pool_per_pod_queue_size",
        of: "llm_d_epp_per_endpoint_queue_size",
        labels: &[("name", "name"), ("model_server_endpoint", "model_server_pod")],
    },
    Twin {
        name: "llm_d_inference_scheduler_datalayer_poll_errors_total",
        of: "llm_d_epp_datalayer_poll_errors_total",
        labels: &[("source_type", "source_type")],
    },
    Twin {
        name: "llm_d_inference_scheduler_disagg_decision_total",
        of: "llm_d_epp_disagg_decision_total",
        labels: &[("model_name", "model_name"), ("decision_type", "decision_type")],
    },
];

/// The families, with those of former names, ordered by name.
pub(super) fn added(mut families: Vec<MetricFamily>) -> Vec<MetricFamily> {
    let twins: Vec<MetricFamily> = families.iter().flat_map(made).collect();
    families.extend(twins);
    families.sort_by(|one, other| one.name().cmp(other.name()));
    families
}

/// The families as a reference page lists them, with those of former names.
pub(super) fn with(mut families: Vec<ListedFamily>) -> Vec<ListedFamily> {
    let of = |family: &ListedFamily| {
        let twin = TWINS.iter().find(|twin| twin.of == family.name)?;
        let labels = twin.labels.iter().filter(|(newer, _)| family.labels.iter().any(|label| label == newer));
        let labels = labels.map(|(_, former)| (*former).to_owned()).collect();
        Some(ListedFamily { name: twin.name.to_owned(), help: help(twin), labels, ..family.clone() })
    };
    let twins: Vec<ListedFamily> = families.iter().filter_map(of).collect();
    families.extend(twins);
    families.sort_by(|one, other| one.name.cmp(&other.name));
    families
}

fn help(twin: &Twin) -> String {
    format!("Deprecated: {}.", twin.of)
}

/// The family of the former name of `family`, if it has one.
fn made(family: &MetricFamily) -> Option<MetricFamily> {
    let twin = TWINS.iter().find(|twin| twin.of == family.name())?;
    let mut series: BTreeMap<Vec<(&str, &str)>, Metric> = BTreeMap::new();
    for metric in family.get_metric() {
        let labels = twin.labels.iter().chain([&POOL]).filter_map(|(newer, former)| {
            let label = metric.get_label().iter().find(|label| label.name() == *newer)?;
            Some((*former, label.value()))
        });
        let mut labels: Vec<_> = labels.collect();
        labels.sort_unstable();
        let sum =
            series.remove(&labels).map_or_else(|| metric.clone(), |sum| sum_of(family.get_field_type(), &sum, metric));
        series.insert(labels, sum);
    }
    let series = series.into_iter().map(|(labels, mut metric)| {
        metric.set_label(labels.into_iter().map(|(name, value)| pair(name, value)).collect());
        metric
    });
    let mut made = MetricFamily::default();
    made.set_name(twin.name.to_owned());
    made.set_help(help(twin));
    made.set_field_type(family.get_field_type());
    made.set_metric(series.collect());
    Some(made)
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut label = LabelPair::default();
    label.set_name(name.to_owned());
    label.set_value(value.to_owned());
    label
}

fn sum_of(kind: MetricType, one: &Metric, other: &Metric) -> Metric {
    let mut sum = Metric::default();
    match kind {
        MetricType::COUNTER => {
            let mut counter = Counter::default();
            counter.set_value(one.get_counter().get_value() + other.get_counter().get_value());
            sum.set_counter(counter);
        }
        MetricType::HISTOGRAM => sum.set_histogram(histogram(one.get_histogram(), other.get_histogram())),
        _ => {
            let mut gauge = Gauge::default();
            gauge.set_value(one.get_gauge().get_value() + other.get_gauge().get_value());
            sum.set_gauge(gauge);
        }
    }
    sum
}

/// The sum of two histograms of one family, which have the same bounds.
fn histogram(one: &Histogram, other: &Histogram) -> Histogram {
    let buckets = one.get_bucket().iter().zip(other.get_bucket()).map(|(one, other)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(one.upper_bound());
        bucket.set_cumulative_count(one.cumulative_count() + other.cumulative_count());
        bucket
    });
    let mut sum = Histogram::default();
    sum.set_bucket(buckets.collect());
    sum.set_sample_count(one.get_sample_count() + other.get_sample_count());
    sum.set_sample_sum(one.get_sample_sum() + other.get_sample_sum());
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prometheus::{CounterVec, HistogramOpts, HistogramVec, Opts, Registry};

    use super::super::metrics::text_of;
    use super::*;

    #[test]
    fn series_that_differ_in_labels_that_the_former_name_lacks_are_added_up() {
        let registry = Registry::new();
        let labels = ["model_name", "target_model_name", "priority"];
        let options = HistogramOpts::new("llm_d_epp_request_ttft_seconds", "x").buckets(vec![1.0, 2.0]);
        let first_tokens = HistogramVec::new(options, &labels).unwrap();
        let attempts = Opts::new("llm_d_epp_scheduler_attempts_total", "x");
        let attempts = CounterVec::new(attempts, &["status", "endpoint_name"]).unwrap();
        registry.register(Box::new(first_tokens.clone())).unwrap();
        registry.register(Box::new(attempts.clone())).unwrap();
        for (priority, seconds) in [("0", 0.5), ("1", 1.5), ("1", 9.0)] {
            first_tokens.with_label_values(&["m", "t", priority]).observe(seconds);
        }
        first_tokens.with_label_values(&["m", "u", "0"]).observe(1.0);
        attempts.with_label_values(&["success", "a"]).inc_by(3.0);
        let page = text_of(&added(registry.gather()));
        for line in [
            "# HELP inference_objective_request_ttft_seconds Deprecated: llm_d_epp_request_ttft_seconds.",
            "inference_objective_request_ttft_seconds_bucket{model_name=\"m\",target_model_name=\"t\",le=\"1\"} 1",
            "inference_objective_request_ttft_seconds_bucket{model_name=\"m\",target_model_name=\"t\",le=\"2\"} 2",
            "inference_objective_request_ttft_seconds_bucket{model_name=\"m\",target_model_name=\"t\",le=\"+Inf\"} 3",
            "inference_objective_request_ttft_seconds_sum{model_name=\"m\",target_model_name=\"t\"} 11",
            "inference_objective_request_ttft_seconds_count{model_name=\"m\",target_model_name=\"u\"} 1",
            "inference_extension_scheduler_attempts_total{pod_name=\"a\",status=\"success\"} 3",
        ] {
            assert_eq!(page.lines().filter(|shown| *shown == line).count(), 1, "{line}\n{page}");
        }
    }

    #[test]
    fn every_former_name_is_of_a_family_that_is_there() {
        let telemetry = crate::telemetry::Telemetry::new("pool", crate::telemetry::span::Tracer::default()).unwrap();
        let families = telemetry.listed_families();
        for Twin { name, of, labels } in &TWINS {
            let family = families.iter().find(|family| family.name == *of).unwrap_or_else(|| panic!("{of}"));
            assert!(labels.iter().all(|(newer, _)| family.labels.iter().any(|label| label == newer)), "{name}");
        }
    }
}
