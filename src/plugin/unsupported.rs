//! llm-d's plugin types that are not supported yet, so that errors say "not here yet" instead of "unknown".
//!
//! Must not know what they do. The change that adds a type removes it from this list.

/// Marks sentences about a missing feature of Murmuration rather than a wrong file.
pub(crate) const NOT_HERE_YET: &str = "not here yet";

/// The message for a type of llm-d that is not supported; `None` for types that llm-d does not have.
pub(crate) fn sentence(kind: &str) -> Option<String> {
    if let Some((_, successor)) = DEPRECATED.iter().find(|(old, _)| *old == kind) {
        return Some(format!("`{kind}` is deprecated in llm-d and {NOT_HERE_YET}; its successor is `{successor}`"));
    }
    TYPES.contains(&kind).then(|| format!("`{kind}` is known to llm-d and {NOT_HERE_YET}; leave it out"))
}

/// The message for a parameter that a plugin had in earlier releases of llm-d; `None` for all others.
pub(crate) fn moved(kind: &str, parameter: &str) -> Option<&'static str> {
    let of = |known: &&(&[&str], &str, &str)| known.0.contains(&kind) && known.1 == parameter;
    MOVED.iter().find(of).map(|(_, _, message)| *message)
}

/// Plugin types, a parameter that they had, and the message about it.
const MOVED: &[(&[&str], &str, &str)] = &[
    (
        &["prefix-cache-scorer", "approx-prefix-cache-producer"],
        "hashBlockSize",
        "`hashBlockSize` was counted in characters and is `blockSizeTokens` of `approx-prefix-cache-producer` now, counted in tokens (a quarter)",
    ),
    (
        &["prefix-cache-scorer"],
        "maxPrefixBlocksToMatch",
        "`maxPrefixBlocksToMatch` is a parameter of `approx-prefix-cache-producer` now",
    ),
    (
        &["prefix-cache-scorer"],
        "lruCapacityPerServer",
        "`lruCapacityPerServer` is a parameter of `approx-prefix-cache-producer` now",
    ),
];

/// Types that llm-d has deprecated, and their replacements.
const DEPRECATED: [(&str, &str); 4] = [
    ("by-label", "label-selector-filter"),
    ("by-label-selector", "label-selector-filter"),
    ("precise-prefix-cache-scorer", "prefix-cache-scorer"),
    ("tokenizer", "token-producer"),
];

/// The other unsupported types.
const TYPES: &[&str] = &[
    "agent-identity",
    "anthropic-parser",
    "burst-prefix-cache-producer",
    "concurrency-detector",
    "context-length-aware",
    "dcgm-data-source",
    "dcgm-extractor",
    "disaggregatedset-rollout-screener",
    "edf-ordering-policy",
    "endpoint-attribute-filter",
    "endpoint-attribute-scorer",
    "endpoint-notification-source",
    "fcfs-ordering-policy",
    "global-strict-fairness-policy",
    "header-label-affinity-scorer",
    "k8s-notification-source",
    "latency-scorer",
    "latency-slo-admitter",
    "load-aware-scorer",
    "local-syncer",
    "mm-embeddings-cache-producer",
    "mm-embeddings-cache-scorer",
    "models-data-extractor",
    "models-data-source",
    "multicluster-approx-prefix-cache-producer",
    "multicluster-file-discovery",
    "multicluster-kv-cache-utilization-scorer",
    "multicluster-metrics-data-source",
    "multicluster-metrics-extractor",
    "multicluster-prefix-cache-scorer",
    "multicluster-queue-scorer",
    "multicluster-session-affinity-filter",
    "no-hit-lru-scorer",
    "p2p-source-producer",
    "precise-prefix-cache-producer",
    "predicted-latency-producer",
    "priority-holdback-policy",
    "priority-then-time-eviction-order-policy",
    "program-aware-fairness",
    "request-attribute-reporter",
    "round-robin-fairness-policy",
    "session-id-producer",
    "sglanghttp-parser",
    "sheddable-eviction-filter",
    "slo-deadline-ordering-policy",
    "slo-headroom-tier-filter",
    "soft-reflective-ceiling-policy",
    "static-usage-limit-policy",
    "utilization-filter",
    "vertexai-parser",
    "vllmgrpc-parser",
    "vllmhttp-parser",
];

/// Every type of llm-d that is not supported.
pub(crate) fn types() -> impl Iterator<Item = &'static str> {
    TYPES.iter().copied().chain(DEPRECATED.iter().map(|(old, _)| *old))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Catalog;

    #[test]
    fn a_deprecated_type_names_its_successor() {
        let message = "`by-label` is deprecated in llm-d and not here yet; its successor is `label-selector-filter`";
        assert_eq!(sentence("by-label").as_deref(), Some(message));
    }

    #[test]
    fn no_type_is_both_supported_and_unsupported() {
        let catalog = Catalog::builtin();
        for kind in types() {
            assert!(!catalog.types().any(|here| here == kind), "{kind} is here");
            assert!(sentence(kind).is_some());
        }
        assert_eq!(sentence("my-own-scorer"), None);
    }
}
