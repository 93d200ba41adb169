//! What an engine does for others: its role, and how KV caches and embeddings pass between engines.
//!
//! Must not know HTTP, or how an engine is run. An engine without a [`HandOff`] has no connector, as a vLLM that was
//! started without `--kv-transfer-config`.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

/// What an engine is for. It ignores parameters of a hand-off that are not for its role, so that a request that reaches
/// the wrong engine shows: nothing is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Computes prompts and keeps their KV for an engine that decodes.
    Prefill,
    /// Takes the KV of prompts from an engine that prefills.
    Decode,
    /// Both.
    Both,
    /// Encodes images and other media, and stores their embeddings for others.
    Encode,
}

/// What becomes of a request whose KV could not be loaded; vLLM's `kv_load_failure_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnLoadFailure {
    /// It is answered with 500.
    Fail,
    /// The engine computes the prompt.
    Recompute,
}

/// How an engine hands over.
#[derive(Clone, Debug, PartialEq)]
pub struct HandOff {
    /// What it is for.
    pub role: Role,
    /// How long it keeps blocks that nobody takes; vLLM's `kv_lease_duration`.
    pub lease: Duration,
    /// Bytes a second at which KV arrives, for each transfer.
    pub link_bytes_per_s: f64,
    /// Bytes of KV of one token.
    pub kv_bytes_per_token: f64,
    /// How long an engine that decodes tries to reach the one that prefilled.
    pub handshake: Duration,
    /// What becomes of a request whose KV could not be loaded.
    pub on_load_failure: OnLoadFailure,
    /// The folder in which encode engines leave embeddings for all others, as vLLM's ECExampleConnector does.
    pub embeddings: Option<PathBuf>,
    /// How long an image or another item takes to encode.
    pub encoding: Duration,
}

// === impl Role ===

impl Role {
    /// The value of the label `llm-d.ai/role`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
            Self::Both => "both",
            Self::Encode => "encode",
        }
    }

    /// Whether it keeps KV for others.
    pub fn keeps(self) -> bool {
        matches!(self, Self::Prefill | Self::Both)
    }

    /// Whether it takes KV from others.
    pub fn pulls(self) -> bool {
        matches!(self, Self::Decode | Self::Both)
    }
}

// === impl HandOff ===

impl HandOff {
    /// vLLM's lease and policy, a fast link, and a model of the size of Llama-3.1-8B.
    pub fn of(role: Role) -> Self {
        Self {
            role,
            lease: Duration::from_secs(30),
            link_bytes_per_s: 10e9,
            kv_bytes_per_token: 131_072.0,
            handshake: Duration::from_secs(5),
            on_load_failure: OnLoadFailure::Fail,
            embeddings: None,
            encoding: Duration::from_millis(30),
        }
    }

    /// How long the KV of this many tokens takes to arrive.
    pub fn transfer(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64(tokens as f64 * self.kv_bytes_per_token / self.link_bytes_per_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_takes_as_long_as_its_bytes_on_the_link() {
        let hand_off = HandOff { link_bytes_per_s: 1e9, kv_bytes_per_token: 1e5, ..HandOff::of(Role::Decode) };
        assert_eq!(hand_off.transfer(10_000), Duration::from_secs(1));
    }

    #[test]
    fn roles_have_the_words_of_their_label() {
        for role in Role::value_variants() {
            assert_eq!(Role::from_str(role.label(), false).as_ref(), Ok(role));
        }
        assert!(Role::Both.keeps() && Role::Both.pulls() && !Role::Encode.keeps() && !Role::Prefill.pulls());
    }
}
