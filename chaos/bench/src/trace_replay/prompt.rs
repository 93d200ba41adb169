//! Prompts from a trace's ids: the chain that a replica sees, and the tokens that an engine computes.
//!
//! Must not know when requests arrive or which replica serves them. An id stands for 512 tokens. Replicas see them in
//! blocks of 64 (or as configured), engines as 512 equal tokens, so that both find the same prefixes shared.

use murmuration::chance::mix;
use murmuration::config::blueprint::PrefixSettings;
use murmuration::id::BlockHash;
use murmuration::prefix::PrefixChain;
use murmuration::request::{InferenceRequest, Prompt};

use super::trace::{ID_TOKENS, Recorded};
use murmuration_engine_sim::model::Request;

/// The request as a replica sees it.
pub fn asked(number: usize, recorded: &Recorded, prefix: &PrefixSettings) -> InferenceRequest {
    let per_id = (ID_TOKENS / u64::from(prefix.block_tokens.max(1))).max(1);
    let full = usize::try_from(recorded.input_length / u64::from(prefix.block_tokens.max(1))).unwrap_or(usize::MAX);
    let mut parent = 1;
    let mut hash = |part: u64| {
        parent = mix(parent ^ part);
        BlockHash(parent)
    };
    let parts = recorded.hash_ids.iter().flat_map(|id| (0..per_id).map(move |i| mix(id.wrapping_mul(per_id) + i + 1)));
    let blocks = parts.take(full.min(prefix.blocks_max)).map(&mut hash).collect();
    let content_hash = recorded.hash_ids.iter().fold(mix(recorded.input_length), |all, id| mix(all ^ id));
    InferenceRequest {
        id: format!("replay-{number}"),
        incoming_model: "model".to_owned(),
        target_model: "model".to_owned(),
        prompt: Prompt::estimated(recorded.input_length, 0, PrefixChain::from_blocks(prefix.block_tokens, blocks)),
        content_hash,
        streaming: true,
        fairness_id: "default-flow".to_owned(),
        sees_response: true,
        ..InferenceRequest::default()
    }
}

/// The request as an engine sees it.
pub fn computed(number: usize, recorded: &Recorded) -> Request {
    let length = usize::try_from(recorded.input_length).unwrap_or(usize::MAX);
    let ids = recorded.hash_ids.iter().copied().chain(std::iter::repeat(u64::MAX - number as u64));
    // Ids of a trace are small, so they stay distinct after the cast.
    let tokens = ids.flat_map(|id| std::iter::repeat_n(id as u32, ID_TOKENS as usize)).take(length).collect();
    let max_tokens = usize::try_from(recorded.output_length.max(1)).unwrap_or(usize::MAX);
    Request { id: number as u64, tokens, adapter: None, salt: None, max_tokens }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(input_length: u64, hash_ids: &[u64]) -> Recorded {
        Recorded { timestamp: 0.0, input_length, output_length: 3, hash_ids: hash_ids.to_vec() }
    }

    fn prefix() -> PrefixSettings {
        PrefixSettings {
            enabled: true,
            block_tokens: 64,
            blocks_max: 2048,
            capacity_blocks: 1000,
            auto_tune: true,
            bytes_per_token: 4,
        }
    }

    #[test]
    fn prompts_share_the_blocks_of_the_ids_they_share() {
        let chain = |ids: &[u64], tokens| asked(1, &recorded(tokens, ids), &prefix()).prompt.chain;
        let (a, b) = (chain(&[1, 2, 3], 1500), chain(&[1, 2, 4], 1536));
        assert_eq!((a.blocks().len(), b.blocks().len()), (23, 24));
        let shared = a.blocks().iter().zip(b.blocks()).take_while(|(a, b)| a == b).count();
        assert_eq!(shared, 16);
    }

    #[test]
    fn an_engine_is_given_as_many_tokens_as_were_recorded() {
        let tokens = computed(9, &recorded(1030, &[5, 6, 7])).tokens;
        assert_eq!((tokens.len(), tokens[511], tokens[512], tokens[1029]), (1030, 5, 6, 7));
        assert_eq!(computed(9, &recorded(1030, &[5])).tokens.len(), 1030, "ids that are missing are its own");
    }
}
