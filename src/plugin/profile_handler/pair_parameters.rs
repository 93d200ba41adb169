//! The parameters of `pair-profile-handler`: profiles, and the figures that turn a transfer into tokens.
//!
//! Must not know endpoints.

use serde::{Deserialize, Serialize};

use super::pair_price::Prices;
use crate::plugin::registration::Invalid;

/// Endpoints in the list of those that prefill, at most.
const PREFILLERS_MAX: u16 = 16;

/// The parameters of `pair-profile-handler`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PairParameters {
    /// The profile of each stage. Their filters say which endpoints may serve; prices choose among them.
    pub(super) profiles: PairProfiles,
    /// The decider of the encode stage. Without one, the stage is not active.
    pub(super) deciders: PairDeciders,
    /// What a second within an answer is worth against a second before the first token, 0 to 10, as for
    /// `prefill-cost-scorer`.
    answer_weight: f64,
    /// Bytes of KV cache for each token: layers x KV heads x head size x 2 x bytes of a number. The default is that of a
    /// model with 8 billion parameters in 16 bits (32 x 8 x 128 x 2 x 2); one with 70 billion has 327,680.
    kv_bytes_per_token: u64,
    /// How fast KV moves from one endpoint to another of its zone, in GB/s. Endpoints whose zone is not known count as
    /// near.
    same_zone_gigabytes_per_second: f64,
    /// The same between zones.
    other_zone_gigabytes_per_second: f64,
    /// How fast an endpoint computes a prompt, in tokens a second. It turns the time of a transfer into tokens.
    prefill_tokens_per_second: f64,
    /// What a hand-over takes besides the transfer, in ms: another request, and the agreement between both engines.
    hand_off_ms: f64,
    /// What it costs that the endpoint that decodes is in another zone than the one that the request came from (the
    /// header `x-forwarded-zone`), in prompt tokens of waiting, 0 to 1,000,000, as for `prefill-cost-scorer`.
    other_zone_tokens: f64,
    /// How many prefill endpoints `x-prefiller-host-port` lists, 1 to 16, the best first. The sidecar may try the next one where
    /// one fails.
    prefill_endpoints: u16,
}

/// The profiles of the stages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct PairProfiles {
    /// Its filters leave the endpoints that may decode.
    pub(super) decode: String,
    /// Its filters leave the endpoints that may prefill.
    pub(super) prefill: String,
    /// The profile that chooses the encode endpoint.
    pub(super) encode: String,
}

/// The deciders of the stages.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct PairDeciders {
    /// The decider on encode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) encode: Option<String>,
}

// === impl PairParameters ===

impl PairParameters {
    /// What they make of times.
    ///
    /// # Errors
    /// One sentence, if one is out of range.
    pub(super) fn prices(&self) -> Result<Prices, Invalid> {
        let within = |name: &str, value: f64, least: f64, most: f64| match value {
            value if (least..=most).contains(&value) => Ok(value),
            other => Err(format!("{name} must be within {least} and {most}, got {other}")),
        };
        let answer_weight = within("answerWeight", self.answer_weight, 0.0, 10.0)?;
        let speed = within("prefillTokensPerSecond", self.prefill_tokens_per_second, 1.0, 1e9)?;
        let near = within("sameZoneGigabytesPerSecond", self.same_zone_gigabytes_per_second, 1e-3, 1e6)?;
        let far = within("otherZoneGigabytesPerSecond", self.other_zone_gigabytes_per_second, 1e-3, 1e6)?;
        let hand_off = within("handOffMs", self.hand_off_ms, 0.0, 1e6)? / 1e3 * speed;
        let caller = within("otherZoneTokens", self.other_zone_tokens, 0.0, 1e6)?;
        let bytes = self.kv_bytes_per_token as f64;
        let [near, far] = [near, far].map(|link| bytes / (link * 1e9) * speed);
        Ok(Prices { answer_weight, hand_off, near, far, caller })
    }

    /// Endpoints in the list of those that prefill.
    ///
    /// # Errors
    /// One sentence, if it is out of range.
    pub(super) fn prefillers(&self) -> Result<usize, Invalid> {
        match self.prefill_endpoints {
            count @ 1..=PREFILLERS_MAX => Ok(count.into()),
            other => Err(format!("prefillEndpoints must be within 1 and {PREFILLERS_MAX}, got {other}")),
        }
    }
}

impl Default for PairParameters {
    fn default() -> Self {
        Self {
            profiles: PairProfiles::default(),
            deciders: PairDeciders::default(),
            answer_weight: 0.2,
            kv_bytes_per_token: 131_072,
            same_zone_gigabytes_per_second: 10.0,
            other_zone_gigabytes_per_second: 1.0,
            prefill_tokens_per_second: 10_000.0,
            hand_off_ms: 20.0,
            other_zone_tokens: 100.0,
            prefill_endpoints: 2,
        }
    }
}

impl Default for PairProfiles {
    fn default() -> Self {
        Self { decode: "decode".to_owned(), prefill: "prefill".to_owned(), encode: "encode".to_owned() }
    }
}
