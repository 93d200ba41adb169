//! The parameters of `disagg-profile-handler` and of the deprecated `pd-profile-handler`: llm-d's, with its defaults
//! and its older spellings.
//!
//! Must not know steps: it gives the names and the order of the stages.

use serde::{Deserialize, Serialize};

use crate::plugin::registration::Invalid;

/// The parameters of `disagg-profile-handler`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct DisaggParameters {
    /// `decode-first` or `prefill-first`.
    #[serde(skip_serializing_if = "String::is_empty")]
    stage_order: String,
    /// The profile of each stage.
    profiles: ProfileNames,
    /// The decider of each stage, by name.
    deciders: DeciderNames,
    /// llm-d's former spelling of `profiles.decode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    decode_profile: Option<String>,
    /// llm-d's former spelling of `profiles.prefill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill_profile: Option<String>,
    /// llm-d's former spelling of `profiles.encode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_profile: Option<String>,
    /// llm-d's former spelling of `deciders.prefill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefill_decider_plugin_name: Option<String>,
    /// llm-d's former spelling of `deciders.encode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    encode_decider_plugin_name: Option<String>,
    /// llm-d's former spelling of `deciders.prefill`.
    #[serde(skip_serializing_if = "Option::is_none")]
    decider_plugin_name: Option<String>,
}

/// The profile of each stage. Empty names count as the defaults.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct ProfileNames {
    /// The profile that chooses the decode endpoint.
    decode: String,
    /// The profile that chooses the prefill endpoint.
    prefill: String,
    /// The profile that chooses the encode endpoint.
    encode: String,
    /// Runs alone where a stage that is needed finds no endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    fallback: String,
}

/// The decider of each stage. Without one, the stage is not active.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct DeciderNames {
    /// The decider on prefill.
    #[serde(skip_serializing_if = "String::is_empty")]
    prefill: String,
    /// The decider on encode.
    #[serde(skip_serializing_if = "String::is_empty")]
    encode: String,
}

/// The parameters of `pd-profile-handler`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PdParameters {
    /// The profile that chooses the decode endpoint.
    decode_profile: String,
    /// The profile that chooses the prefill endpoint.
    prefill_profile: String,
    /// The decider on prefill.
    decider_plugin_name: String,
    /// The port of the decode endpoint's host that requests are sent to, where endpoints are data-parallel ranks behind
    /// one port: then `x-data-parallel-host-port` names the rank. `0`: each endpoint has its own port.
    pub(super) primary_port: u16,
    /// Accepted and ignored: there is one producer of prefix matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_plugin_type: Option<String>,
    /// Accepted and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_plugin_name: Option<String>,
    /// Accepted and ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix_match_info_producer_name: Option<String>,
}

/// Profiles and deciders, with every default filled in.
#[derive(Clone, Debug)]
pub(super) struct Stages {
    pub(super) order: Order,
    pub(super) decode: String,
    pub(super) prefill: String,
    pub(super) encode: String,
    pub(super) fallback: Option<String>,
    pub(super) prefill_decider: Option<String>,
    pub(super) encode_decider: Option<String>,
    /// Whether a request whose prefill stage finds no endpoint is refused.
    pub(super) prefill_required: bool,
}

/// Which stage chooses its endpoint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Decode, encode, prefill: the prefill decider sees the decode endpoint.
    DecodeFirst,
    /// Prefill, encode, decode: each request is prefilled apart.
    PrefillFirst,
}

// === impl Order ===

impl Order {
    /// Any case, with `-`, `_` or neither, as llm-d reads it.
    fn read(text: &str) -> Result<Self, Invalid> {
        match text.replace(['-', '_'], "").to_ascii_lowercase().as_str() {
            "" | "decodefirst" | "decode" => Ok(Self::DecodeFirst),
            "prefillfirst" | "prefill" => Ok(Self::PrefillFirst),
            _ => Err(format!("stageOrder must be `decode-first` or `prefill-first`, got `{text}`")),
        }
    }
}

// === impl DisaggParameters ===

impl DisaggParameters {
    /// The stages that they describe.
    ///
    /// # Errors
    /// One sentence, if they contradict each other.
    pub(super) fn stages(self) -> Result<Stages, Invalid> {
        let order = Order::read(&self.stage_order)?;
        let some = |name: String| Some(name).filter(|name| !name.is_empty());
        let older = |name: Option<String>| name.filter(|name| !name.is_empty());
        let name = |given: String, older: Option<String>, default: &str| {
            some(given).filter(|given| given != default).or(older).unwrap_or_else(|| default.to_owned())
        };
        let ProfileNames { decode, prefill, encode, fallback } = self.profiles;
        let older_decider = older(self.prefill_decider_plugin_name).or(older(self.decider_plugin_name));
        let stages = Stages {
            order,
            decode: name(decode, self.decode_profile, "decode"),
            prefill: name(prefill, self.prefill_profile, "prefill"),
            encode: name(encode, self.encode_profile, "encode"),
            fallback: some(fallback),
            prefill_decider: some(self.deciders.prefill).or(older_decider),
            encode_decider: some(self.deciders.encode).or(older(self.encode_decider_plugin_name)),
            prefill_required: true,
        };
        if stages.decode == stages.prefill || stages.decode == stages.encode || stages.prefill == stages.encode {
            return Err("profiles: `decode`, `prefill` and `encode` must be three profiles".to_owned());
        }
        if order == Order::PrefillFirst && stages.prefill_decider.is_some() {
            let why = "takes no prefill decider: each request is prefilled before its decode endpoint is known";
            return Err(format!("stageOrder prefill-first {why}"));
        }
        if let Some(fallback) = &stages.fallback {
            if order == Order::PrefillFirst {
                return Err("profiles: `fallback` needs stageOrder decode-first".to_owned());
            }
            if [&stages.decode, &stages.prefill, &stages.encode].contains(&fallback) {
                return Err(format!(
                    "profiles: `fallback` must be a profile of its own, and `{fallback}` is a stage's"
                ));
            }
        }
        Ok(stages)
    }
}

// === impl ProfileNames ===

impl Default for ProfileNames {
    fn default() -> Self {
        let name = str::to_owned;
        Self { decode: name("decode"), prefill: name("prefill"), encode: name("encode"), fallback: String::new() }
    }
}

// === impl PdParameters ===

impl PdParameters {
    /// The stages that they describe.
    ///
    /// # Errors
    /// One sentence, if they contradict each other.
    pub(super) fn stages(self) -> Result<Stages, Invalid> {
        let parameters = DisaggParameters {
            decode_profile: Some(self.decode_profile),
            prefill_profile: Some(self.prefill_profile),
            decider_plugin_name: Some(self.decider_plugin_name),
            ..DisaggParameters::default()
        };
        Ok(Stages { prefill_required: false, ..parameters.stages()? })
    }
}

impl Default for PdParameters {
    fn default() -> Self {
        Self {
            decode_profile: "decode".to_owned(),
            prefill_profile: "prefill".to_owned(),
            decider_plugin_name: "prefix-based-pd-decider".to_owned(),
            primary_port: 0,
            prefix_plugin_type: None,
            prefix_plugin_name: None,
            prefix_match_info_producer_name: None,
        }
    }
}
