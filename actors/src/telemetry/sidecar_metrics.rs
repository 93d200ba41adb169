//! Metrics of a sidecar: llm-d's, under llm-d's names, and those that llm-d does not have.
//!
//! Must not know legs.

use std::time::Duration;

use murmuration::event::SidecarEvent;
use prometheus::{CounterVec, Error, HistogramVec};

use super::families::Families;

/// What a sidecar's page shows of the families that all processes register.
const SHARED: [&str; 8] = [
    "murmuration_actor_restarts_total",
    "murmuration_connections_closed_total",
    "murmuration_objects_refused_total",
    "murmuration_panics_total",
    "murmuration_parts_given_up_total",
    "murmuration_reloads_total",
    "murmuration_watch_failures_total",
    "murmuration_watch_interrupted",
];

/// Metric families of a sidecar.
pub(super) struct SidecarMetrics {
    llm_d: LlmDMetrics,
    legs: CounterVec,
    handoffs: CounterVec,
    fallbacks: CounterVec,
    refusals: CounterVec,
    targets: CounterVec,
    fields: CounterVec,
    restarts: CounterVec,
}

/// Those of llm-d's sidecar.
struct LlmDMetrics {
    requests: CounterVec,
    split: CounterVec,
    encode: HistogramVec,
    prefill: HistogramVec,
    decode: HistogramVec,
    errors: CounterVec,
}

/// Whether a family belongs on a sidecar's page.
pub(super) fn is_a_sidecars(family: &str) -> bool {
    ["llm_d_disagg_sidecar_", "murmuration_sidecar_"].iter().any(|prefix| family.starts_with(prefix))
        || SHARED.contains(&family)
}

/// llm-d's bounds.
fn leg_seconds() -> Vec<f64> {
    vec![0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0]
}

// === impl SidecarMetrics ===

impl SidecarMetrics {
    pub(super) fn register(f: &Families<'_>) -> Result<Self, Error> {
        Ok(Self {
            llm_d: LlmDMetrics::register(f)?,
            legs: f.counter(
                "murmuration_sidecar_legs_total",
                "Legs that ended, by how.",
                &["connector", "stage", "outcome"],
            )?,
            handoffs: f.counter(
                "murmuration_sidecar_handoffs_total",
                "What prefill legs left: handed to the decode engine (ok), or why not.",
                &["connector", "result"],
            )?,
            fallbacks: f.counter(
                "murmuration_sidecar_fallbacks_total",
                "Requests that the decode engine served alone after a leg failed, by the leg's stage.",
                &["connector", "stage"],
            )?,
            refusals: f.counter(
                "murmuration_sidecar_refusals_total",
                "Requests answered by the sidecar itself, by reason.",
                &["reason"],
            )?,
            targets: f.counter(
                "murmuration_sidecar_targets_refused_total",
                "Targets in headers that are not allowed.",
                &["stage"],
            )?,
            fields: f.counter(
                "murmuration_sidecar_fields_removed_total",
                "Fields of clients that only a sidecar may set.",
                &["field"],
            )?,
            restarts: f.counter(
                "murmuration_sidecar_prefiller_restarts_total",
                "Prefill engines that answered under another id than before.",
                &[],
            )?,
        })
    }

    pub(super) fn record(&self, event: &SidecarEvent) {
        match event {
            SidecarEvent::Asked { api } => self.llm_d.requests.with_label_values(&[api]).inc(),
            SidecarEvent::Split { connector } => self.llm_d.split.with_label_values(&[connector]).inc(),
            SidecarEvent::LegEnded { connector, stage, outcome, took, .. } => {
                self.leg_ended(connector, stage, outcome, *took);
            }
            SidecarEvent::HandedOver { connector, result } => {
                self.handoffs.with_label_values(&[connector, result]).inc();
            }
            SidecarEvent::FellBack { connector, stage } => self.fallbacks.with_label_values(&[connector, stage]).inc(),
            SidecarEvent::Refused { code, .. } => self.refusals.with_label_values(&[code]).inc(),
            SidecarEvent::TargetRefused { stage, .. } => self.targets.with_label_values(&[stage]).inc(),
            SidecarEvent::FieldRemoved { field } => self.fields.with_label_values(&[field]).inc(),
            SidecarEvent::PrefillerRestarted { .. } => self.restarts.with_label_values::<&str>(&[]).inc(),
        }
    }

    fn leg_ended(&self, connector: &str, stage: &str, outcome: &str, took: Duration) {
        self.legs.with_label_values(&[connector, stage, outcome]).inc();
        if !["ok", "refused", "cancelled"].contains(&outcome) {
            self.llm_d.errors.with_label_values(&[connector, stage]).inc();
        }
        let family = match stage {
            "encode" => &self.llm_d.encode,
            "prefill" => &self.llm_d.prefill,
            _ => &self.llm_d.decode,
        };
        // llm-d measures the legs of requests that are split.
        if connector != "none" {
            family.with_label_values(&[connector]).observe(took.as_secs_f64());
        }
    }
}

// === impl LlmDMetrics ===

impl LlmDMetrics {
    fn register(f: &Families<'_>) -> Result<Self, Error> {
        let by = ["connector"];
        Ok(Self {
            requests: f.counter(
                "llm_d_disagg_sidecar_requests_total",
                "Requests to APIs that can be split, by API.",
                &["api_type"],
            )?,
            split: f.counter(
                "llm_d_disagg_sidecar_disagg_requests_total",
                "Requests that were split, by connector.",
                &by,
            )?,
            encode: f.histogram(
                "llm_d_disagg_sidecar_encode_duration_seconds",
                "Encode legs, by connector.",
                &by,
                leg_seconds(),
            )?,
            prefill: f.histogram(
                "llm_d_disagg_sidecar_prefill_duration_seconds",
                "Prefill legs, by connector.",
                &by,
                leg_seconds(),
            )?,
            decode: f.histogram(
                "llm_d_disagg_sidecar_decode_duration_seconds",
                "Decode legs to the end of their answers, by connector.",
                &by,
                leg_seconds(),
            )?,
            errors: f.counter(
                "llm_d_disagg_sidecar_request_errors_total",
                "Legs that failed, by connector and stage.",
                &["connector", "stage"],
            )?,
        })
    }
}
