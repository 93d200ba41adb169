//! What the labels of metrics mean, for the page that lists them (`docs/reference/metrics.md`).
//!
//! Must not know families: a label means the same wherever it is.

/// Every label with its meaning, in alphabetical order.
pub const LABELS: &[(&str, &str)] = &[
    ("api_type", "The API of a request: `chat_completions`, `completions`, `responses`, `messages` or a `generate`."),
    ("build_ref", "The release of this replica."),
    ("code", "Of refusals the code, with a page each in `deploy/runbook`; of streams `OK`."),
    ("commit", "Empty: a release does not know its commit."),
    (
        "connector",
        "How the engines of a sidecar hand over: the name in its flags, or `none` for a request with one leg.",
    ),
    (
        "decision_type",
        "How a request's stages were split: `decode-only`, `prefill-decode`, `encode-decode` or `encode-prefill-decode`.",
    ),
    ("direction", "`sent` or `received`."),
    ("endpoint_name", "The endpoint's name, without its namespace."),
    (
        "error_code",
        "The HTTP status, or `ModelServerError` (the engine failed) or `ClientDisconnect` where the status is no error.",
    ),
    ("fairness_id", "The header `x-llm-d-inference-fairness-id`, or `default-flow`."),
    ("field", "A field of a request's body."),
    ("from", "The zone of this replica."),
    ("gauge", "Which gauge: `waiting`, `running` or `kv_usage`."),
    ("kind", "Of a failed scrape: what went wrong. Of a restart: the part's kind, such as `endpoint` or `peer`."),
    ("lane", "`stream` or `gossip`."),
    ("model_name", "The model that the client asked for; `other` for names beyond the bound."),
    ("model_rewrite_name", "What rewrote the model: `header`, or the name of an InferenceModelRewrite."),
    ("model_server_endpoint", "The endpoint's name, without its namespace."),
    ("model_server_pod", "The same, in former names of metrics."),
    ("name", "The pool, as `--pool-name` has it."),
    ("namespace", "The endpoint's namespace."),
    (
        "noticed",
        "How a lost cache was noticed: `restarted`, `asleep`, `back` (its listener was gone) or `told` (by a peer).",
    ),
    (
        "outcome",
        "How a request ended; of a leg `ok`, `refused` (the request is wrong), `status` (the engine failed), `connect`, \
        `broken`, `timeout`, `too-large`, or `cancelled` (the client left, or the other leg failed).",
    ),
    ("part", "The part of the replica, by name."),
    ("peer", "The other replica's name."),
    ("plugin_name", "The plugin's name in the configuration."),
    ("plugin_type", "The plugin's type."),
    ("pod_name", "The endpoint's name, without its namespace, in former names of metrics."),
    (
        "port",
        "The port of this replica that it concerns (`ext-proc`, `health`, `admin`, `peers`, `sidecar`), or an engine's port.",
    ),
    ("priority", "The request's priority, by its objective."),
    ("producer", "The type of the plugin that was asked about a request, such as `token-producer`."),
    ("reason", "Why, as a stable word."),
    (
        "resource",
        "What is watched: `inferencepools`, `pods`, `peers` (the tier's own pods), or a plural with its group.",
    ),
    (
        "result",
        "`ok` or `failed`; of predictions `kept` or `broken`; of preparations `ok`, or why not all was learned; of \
        hand-offs `ok`, or why the decode engine computed the prompt (`docs/sidecar.md`).",
    ),
    ("source_type", "The plugin that polls: `metrics-data-source`."),
    ("stage", "`encode`, `prefill` or `decode`; of refused targets also `kv-source`."),
    ("state", "`EXACT`, `DEGRADED` or `FALLBACK`; see `docs/concepts.md`."),
    ("status", "Of attempts `success` or `failure`; of local replies the HTTP status, or `other`."),
    ("streaming", "Whether the answer was streamed."),
    ("target_model", "The model that the engine is asked for."),
    ("target_model_name", "The model that the engine is asked for."),
    ("to", "The zone of the replica that it was sent to; `other` beyond the first 32 zones that were seen."),
];
