//! Agrees with the tier on the salt that prompts are hashed with, where none was configured.
//!
//! Must not know prompts, lanes, or the rule: [`SaltClaim`] has it. A joiner adopts the salt that it finds before it is
//! ready and before it claims anything, so the tier does not change its salt for a joiner.

use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::Incarnation;
use murmuration::replication::SaltClaim;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Receiver;

/// How long a starting replica waits for the salt of its tier.
const FIRST_CLAIM: Duration = Duration::from_secs(1);
/// How long the first claims of a tier may take to reach all replicas: some rounds of gossip.
const CLAIMS_SPREAD: Duration = Duration::from_millis(500);

/// What the agreement works with.
#[derive(Clone)]
pub(super) struct Agreement {
    /// The incarnation that draws, and the salt that it drew.
    pub(super) own: (Incarnation, u128),
    /// The oldest claim of the peers.
    pub(super) heard: watch::Receiver<Option<SaltClaim>>,
    /// The claim that the peers get.
    pub(super) told: watch::Sender<Option<SaltClaim>>,
    /// The salt in force.
    pub(super) apply: watch::Sender<u128>,
    /// Becomes true with the first salt.
    pub(super) settled: watch::Sender<bool>,
    /// Records changes.
    pub(super) receiver: Receiver,
}

// === impl Agreement ===

impl Agreement {
    /// Runs until claims of peers can't arrive any more.
    pub(super) async fn run(mut self) {
        let found = timeout(FIRST_CLAIM, self.heard.wait_for(Option::is_some)).await;
        let found = found.ok().and_then(|found| found.ok().and_then(|found| *found));
        let (drawn_by, salt) = self.own;
        // What was claimed before this task failed stays claimed.
        let claimed = found.or(*self.told.borrow());
        let mut claim = claimed.unwrap_or(SaltClaim { drawn_by, salt });
        if claimed.is_none() {
            // Replicas that start at once find no salt, and each claims its own. None is ready before it has heard the
            // others: else they would hash the first prompts under different salts.
            self.told.send_replace(Some(claim));
            sleep(CLAIMS_SPREAD).await;
            claim = claim.agreed(*self.heard.borrow_and_update());
        }
        loop {
            self.apply.send_if_modified(|salt| std::mem::replace(salt, claim.salt) != claim.salt);
            self.told.send_replace(Some(claim));
            self.settled.send_replace(true);
            let agreed = loop {
                let agreed = claim.agreed(*self.heard.borrow_and_update());
                if agreed != claim {
                    break agreed;
                }
                if self.heard.changed().await.is_err() {
                    return;
                }
            };
            if agreed.salt != claim.salt {
                self.receiver.emit(&Event::PromptSaltChanged { drawn_by: agreed.drawn_by });
            }
            claim = agreed;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use murmuration::id::ReplicaId;
    use tokio::task::JoinSet;

    use super::*;
    use crate::scheduler::SchedulerHandle;
    use crate::telemetry::Telemetry;
    use crate::telemetry::span::Tracer;

    struct Agreeing {
        others: watch::Sender<Option<SaltClaim>>,
        told: watch::Receiver<Option<SaltClaim>>,
        salt: watch::Receiver<u128>,
        settled: watch::Receiver<bool>,
        telemetry: Telemetry,
        _task: JoinSet<()>,
    }

    fn agreeing(incarnation: u64, drawn: u128) -> Agreeing {
        let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
        let scheduler = SchedulerHandle::unstarted(Duration::from_secs(1)).1;
        let receiver = Receiver::new(ReplicaId("a".into()), scheduler, telemetry.clone());
        let ((others, heard), (told, tells)) = (watch::channel(None), watch::channel(None));
        let ((apply, salt), (settled, settles)) = (watch::channel(drawn), watch::channel(false));
        let own = (Incarnation(incarnation), drawn);
        let mut task = JoinSet::new();
        task.spawn(Agreement { own, heard, told, apply, settled, receiver }.run());
        Agreeing { others, told: tells, salt, settled: settles, telemetry, _task: task }
    }

    fn claim(drawn_by: u64, salt: u128) -> SaltClaim {
        SaltClaim { drawn_by: Incarnation(drawn_by), salt }
    }

    fn changes(telemetry: &Telemetry) -> bool {
        telemetry.page().contains("murmuration_prompt_salt_changes_total 1")
    }

    #[tokio::test(start_paused = true)]
    async fn a_joiner_adopts_the_salt_it_finds_and_claims_nothing_before() {
        let mut joiner = agreeing(1, 7);
        sleep(FIRST_CLAIM / 2).await;
        assert_eq!((*joiner.told.borrow(), *joiner.settled.borrow()), (None, false));
        // The tier's claim looks younger, because this machine's clock is behind: the tier keeps its salt all the same.
        joiner.others.send_replace(Some(claim(50, 9)));
        joiner.settled.wait_for(|settled| *settled).await.unwrap();
        assert_eq!((*joiner.salt.borrow(), *joiner.told.borrow()), (9, Some(claim(50, 9))));
        assert!(!changes(&joiner.telemetry), "nothing was hashed before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_without_peers_claims_the_salt_it_drew() {
        let mut first = agreeing(5, 7);
        first.settled.wait_for(|settled| *settled).await.unwrap();
        assert_eq!((*first.salt.borrow(), *first.told.borrow()), (7, Some(claim(5, 7))));
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_start_at_once_are_ready_with_one_salt() {
        let (mut old, mut new) = (agreeing(5, 7), agreeing(6, 8));
        for side in [&mut old, &mut new] {
            side.told.wait_for(Option::is_some).await.unwrap();
            assert!(!*side.settled.borrow());
        }
        old.others.send_replace(*new.told.borrow());
        new.others.send_replace(*old.told.borrow());
        for side in [&mut old, &mut new] {
            side.settled.wait_for(|settled| *settled).await.unwrap();
            assert_eq!((*side.salt.borrow(), *side.told.borrow()), (7, Some(claim(5, 7))));
            assert!(!changes(&side.telemetry), "nothing was hashed before");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_meet_later_the_older_salt_wins_and_the_change_is_reported() {
        let (mut old, mut new) = (agreeing(5, 7), agreeing(6, 8));
        for side in [&mut old, &mut new] {
            side.settled.wait_for(|settled| *settled).await.unwrap();
        }
        old.others.send_replace(*new.told.borrow());
        new.others.send_replace(*old.told.borrow());
        new.salt.wait_for(|salt| *salt == 7).await.unwrap();
        assert_eq!(*new.told.borrow_and_update(), Some(claim(5, 7)));
        assert_eq!((*old.salt.borrow(), *old.told.borrow()), (7, Some(claim(5, 7))));
        assert!(changes(&new.telemetry) && !changes(&old.telemetry));
    }
}
