//! The page of metrics, from the families that a replica registers.
//!
//! Must not know any metric.

use std::collections::BTreeSet;

use murmuration_actors::telemetry::labels::LABELS;
use murmuration_actors::telemetry::span::Tracer;
use murmuration_actors::telemetry::{ListedFamily, Telemetry};

use crate::markdown::{NOTE, code, table};

const INTRO: &str = "\
# Metrics

Every replica serves its own page at `/metrics` of `--metrics-port` (9090), in Prometheus' text format. A family is on
the page once it has a series. Times are in seconds, sizes in bytes. Where a replica serves several pools, the series of
a pool that have no label `name` bear the pool's in `inference_pool`. `murmuration sidecar` serves a page of its own at
`--metrics-port` (off by default), with the families of sidecars alone. [Operations](../operations.md#what-to-watch) says
which to watch, and at which value to act.
";

fn families() -> Vec<ListedFamily> {
    Telemetry::new("default", Tracer::default()).unwrap().listed_families().to_vec()
}

/// The names of all families.
pub(crate) fn names() -> BTreeSet<String> {
    families().into_iter().map(|family| family.name).collect()
}

/// The page.
pub(crate) fn page() -> String {
    let families = families();
    let mut text = format!("{INTRO}\n{NOTE}");
    let groups = [
        ("murmuration_", "Murmuration's own", "Names that llm-d does not have."),
        (
            "llm_d_disagg_sidecar_",
            "llm-d's, of a sidecar",
            "The same names, labels and bounds as llm-d's `pd-sidecar`, on the page of `murmuration sidecar`.",
        ),
        ("llm_d_epp_", "llm-d's", "The same names, labels and bounds as llm-d's endpoint picker."),
        ("inference_", "Deprecated", "Former names of llm-d's metrics, for dashboards that still ask for them."),
        ("llm_d_inference_scheduler_", "Deprecated too", "The same, of builds under another name."),
    ];
    let of = |prefix: &str| families.iter().filter(|family| family.name.starts_with(prefix)).collect::<Vec<_>>();
    assert_eq!(groups.iter().map(|(prefix, ..)| of(prefix).len()).sum::<usize>(), families.len(), "a prefix is new");
    for (prefix, heading, about) in groups {
        let rows: Vec<Vec<String>> = of(prefix).into_iter().map(row).collect();
        text.push_str(&format!("\n## {heading}\n\n{about}\n\n{}", table(&["name", "kind", "labels", "what"], &rows)));
    }
    text.push_str(&format!("\n## Labels\n\n{}", table(&["label", "values"], &labels(&families))));
    text
}

fn row(family: &ListedFamily) -> Vec<String> {
    let labels: Vec<String> = family.labels.iter().map(|label| code(label)).collect();
    let kind = match (family.buckets.first(), family.buckets.last()) {
        (Some(first), Some(last)) => {
            format!("{}, {} buckets from {first} to {last}", family.kind, family.buckets.len())
        }
        _ => family.kind.to_owned(),
    };
    vec![code(&family.name), kind, labels.join(", "), family.help.clone()]
}

fn labels(families: &[ListedFamily]) -> Vec<Vec<String>> {
    let used: BTreeSet<&str> = families.iter().flat_map(|family| &family.labels).map(String::as_str).collect();
    let explained: Vec<&str> = LABELS.iter().map(|(label, _)| *label).collect();
    assert_eq!(
        explained,
        used.into_iter().collect::<Vec<_>>(),
        "telemetry/labels.rs explains exactly the labels in use"
    );
    LABELS.iter().map(|(label, what)| vec![code(label), (*what).to_owned()]).collect()
}
