//! What happens in a sidecar and is worth reporting.

use std::time::Duration;

/// An event of a sidecar.
#[derive(Clone, Debug, PartialEq)]
pub enum SidecarEvent {
    /// A request to an API that can be split arrived.
    Asked {
        /// llm-d's name of the API, such as `chat_completions`.
        api: &'static str,
    },
    /// A request is split into legs.
    Split {
        /// The connector.
        connector: &'static str,
    },
    /// A leg ended.
    LegEnded {
        /// The connector; `none` for a request that was not split.
        connector: &'static str,
        /// `encode`, `prefill` or `decode`.
        stage: &'static str,
        /// The engine.
        target: String,
        /// A stable label: `ok`, `refused` (the request is wrong), `status` (the engine failed), `connect`, `broken`,
        /// `timeout`, `too-large`, or `cancelled` (the client left, was too slow, or the other leg failed).
        outcome: &'static str,
        /// The leg's time, queue of the engine included.
        took: Duration,
    },
    /// What a prefill leg left was handed to the decode engine, or not.
    HandedOver {
        /// The connector.
        connector: &'static str,
        /// A stable label: `ok`, or why the decode engine computes the prompt itself: `missing`, `incomplete`, `producers`,
        /// `no-answer`, `stale` (the prefill engine may have freed the blocks), `versions` (the engines' are not the same),
        /// `several-sequences`.
        result: &'static str,
    },
    /// A leg failed, and the decode engine serves the request alone.
    FellBack {
        /// The connector.
        connector: &'static str,
        /// The stage whose leg failed.
        stage: &'static str,
    },
    /// The sidecar answered a request itself.
    Refused {
        /// A stable label: `bad-header`, `bad-body`, `too-large`, `too-slow`, `no-memory`, `target`, `rank`, `prefill`,
        /// `encode` or `decode`.
        code: &'static str,
        /// The details, for people.
        why: String,
    },
    /// A header named a target that is not allowed.
    TargetRefused {
        /// What it would have served: `encode`, `prefill` or `kv-source`.
        stage: &'static str,
        /// The target.
        target: String,
    },
    /// A field that only a sidecar may set was removed from a request.
    FieldRemoved {
        /// Its name.
        field: &'static str,
    },
    /// A prefill engine answers under another id than before: it is another process.
    PrefillerRestarted {
        /// The engine.
        target: String,
    },
}
