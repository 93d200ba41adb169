//! Whether every replica, asked directly, gives the same request the same pair.
//!
//! Must not know how replicas come to agree. See `agreement`.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::super::agreement::{Placed, Then, place};
use super::super::replicas;
use super::super::report::Report;
use super::PdTarget;
use super::prompts::{self, LONG_BYTES};

/// How long one replica may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before a question: by then all replicas have received the end of the one before it.
const QUIET: Duration = Duration::from_millis(150);
/// Questions that every replica is asked.
const QUESTIONS: usize = 3;

/// Asks every replica the same questions. Returns the share that all answered alike, 1 where replicas share nothing. Where
/// they do not see answers, only the engines that decode are compared.
pub(super) async fn measure(target: &PdTarget, report: &mut Report) -> f64 {
    let Some(replication) = &target.tier.replication else { return 1.0 };
    let (mut alike, mut pairs) = (0, 0);
    for _ in 0..QUESTIONS {
        let (label, call) = prompts::new_text(&target.tier.model, "question to all replicas", LONG_BYTES);
        let mut answers: Vec<Placed> = Vec::new();
        for &replica in &replication.ext_proc {
            sleep(QUIET).await;
            replicas::agree(&target.tier).await;
            let asking = place(replica, &replication.authority, &call.body, Then::GivenUp);
            match timeout(PATIENCE, asking).await {
                // The answer of the first one has changed what the others know: they find the prompt where it decodes.
                Ok(Ok(placed)) if !target.sees_answers => answers.push(Placed { prefillers: None, ..placed }),
                Ok(Ok(placed)) => answers.push(placed),
                Ok(Err(why)) => report.fail(format!("asking the replica at {replica} directly: {why}")),
                Err(_) => report.fail(format!("asking the replica at {replica} directly: no answer in {PATIENCE:?}")),
            }
        }
        pairs += answers.iter().filter(|placed| placed.prefillers.is_some()).count();
        match answers.split_first() {
            Some((first, others)) if others.iter().all(|other| other == first) => alike += 1,
            _ => report.fail(format!("{label}: replicas do not agree on the pair: {answers:?}")),
        }
    }
    if pairs == 0 && target.sees_answers {
        report.fail("no replica gave any question a pair".to_owned());
    }
    f64::from(alike) / QUESTIONS as f64
}
