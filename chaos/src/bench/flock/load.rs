//! A steady load on every replica's scheduler: requests that are asked, computed for a while, and finished.
//!
//! Must not know what is measured.

use std::time::Duration;

use murmuration::chance::{Chance, mix};
use murmuration::id::BlockHash;
use murmuration::prefix::PrefixChain;
use murmuration::request::{InferenceRequest, Outcome, Prompt};
use murmuration_actors::scheduler::{Asking, SchedulerHandle};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::tier::Tier;

/// How long a request's prompt is computed, and then its answer.
const COMPUTED: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
/// Conversations that go on at each replica.
const CONVERSATIONS: u64 = 400;
/// Tokens of a block, as the default configuration cuts prompts.
const BLOCK_TOKENS: u32 = 64;

/// The load; it ends when dropped.
#[derive(Debug)]
pub(super) struct Load {
    _tasks: JoinSet<()>,
}

// === impl Load ===

impl Load {
    /// `rate` requests a second over all replicas.
    pub(super) fn start(tier: &Tier, rate: f64) -> Self {
        let mut tasks = JoinSet::new();
        let pause = Duration::from_secs_f64(tier.replicas.len() as f64 / rate.max(0.001));
        for (number, replica) in tier.replicas.iter().enumerate() {
            tasks.spawn(send(replica.scheduler().clone(), number as u64, pause));
        }
        Self { _tasks: tasks }
    }
}

async fn send(scheduler: SchedulerHandle, seed: u64, pause: Duration) {
    let (mut chance, mut open, mut next) = (Chance::from_seed(seed), JoinSet::new(), Instant::now());
    loop {
        sleep_until(next).await;
        next += pause;
        let (conversation, blocks) = (mix(seed) ^ chance.below(CONVERSATIONS as usize) as u64, 20 + chance.below(180));
        open.spawn(live(scheduler.clone(), request(conversation, blocks as u64)));
        while open.try_join_next().is_some() {}
    }
}

async fn live(scheduler: SchedulerHandle, request: InferenceRequest) {
    let Ok((reservation, _)) = scheduler.ask(request).await else { return };
    sleep(COMPUTED.0).await;
    reservation.first_token();
    sleep(COMPUTED.1).await;
    reservation.finish(Outcome::Completed, None);
}

/// A turn of a conversation with a prompt of so many blocks.
pub(super) fn request(conversation: u64, blocks: u64) -> InferenceRequest {
    let hashes = (0..blocks).map(|block| BlockHash(mix(conversation.wrapping_mul(1_000_003) + block))).collect();
    let prompt =
        Prompt { tokens: blocks * u64::from(BLOCK_TOKENS), chain: PrefixChain::from_blocks(BLOCK_TOKENS, hashes) };
    let content_hash = mix(conversation ^ blocks);
    let target_model = "tiny".to_owned();
    InferenceRequest { prompt, content_hash, target_model, attended: true, ..InferenceRequest::default() }
}
