//! Who lives, as the rest of the replica is to see it.
//!
//! Must not know chitchat's detector beyond its verdict. A replica that was itself frozen has heard nobody meanwhile; it
//! must not declare everybody dead for that, so right after a late look the missing are kept for a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::Member;
use murmuration::time::Timestamp;

use super::sessions::MEMORY;

/// A look that comes later than this says that we were frozen.
const LATE: Duration = Duration::from_millis(250);
/// How long the missing are kept after we were.
const FORGIVENESS: Duration = Duration::from_secs(1);
/// SchedulerStarts that are remembered beside those that are present, at most.
const REMEMBERED_MAX: usize = 1_024;

/// A member that is there, where it gossips from, and since when: each return begins another stay.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Visit<A> {
    pub(super) member: Member,
    pub(super) address: A,
    pub(super) stay: u64,
}

/// The members of the last look.
#[derive(Debug)]
pub(super) struct MembershipView<A> {
    interval: Duration,
    present: BTreeMap<ReplicaId, Present<A>>,
    /// The newest life of each that was seen, and when.
    newest: BTreeMap<ReplicaId, (Incarnation, Timestamp)>,
    stays: u64,
    looked: Option<Timestamp>,
    frozen: Option<Timestamp>,
}

#[derive(Debug)]
struct Present<A> {
    visit: Visit<A>,
    missing: Option<Timestamp>,
}

// === impl MembershipView ===

impl<A: Clone> MembershipView<A> {
    /// A membership that is taken each `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, present: BTreeMap::new(), newest: BTreeMap::new(), stays: 0, looked: None, frozen: None }
    }

    /// The members at `now`, ordered by name, of whom `seen` are known to live.
    pub(super) fn look(&mut self, now: Timestamp, seen: Vec<(Member, A)>) -> Vec<Visit<A>> {
        if self.looked.is_some_and(|last| now.since(last) > self.interval + LATE) {
            self.frozen = Some(now);
        }
        self.looked = Some(now);
        let forgiving = self.frozen.is_some_and(|frozen| now.since(frozen) < FORGIVENESS);
        for present in self.present.values_mut() {
            present.missing.get_or_insert(now);
        }
        for (member, address) in seen {
            if self.is_newest(&member, now) {
                self.sighted(member, address);
            }
        }
        self.newest.retain(|_, (_, seen)| now.since(*seen) <= MEMORY);
        self.present
            .retain(|_, present| present.missing.is_none_or(|since| forgiving && now.since(since) < FORGIVENESS));
        self.present.values().map(|present| present.visit.clone()).collect()
    }

    /// Whether no newer life of it was seen. News of an older one may come from somebody who was cut off, or did not hear of
    /// its end.
    fn is_newest(&mut self, member: &Member, now: Timestamp) -> bool {
        let room = self.newest.len() < REMEMBERED_MAX;
        match self.newest.get_mut(&member.replica) {
            Some((newest, _)) if *newest > member.incarnation => return false,
            Some(newest) => *newest = (member.incarnation, now),
            None if room => drop(self.newest.insert(member.replica.clone(), (member.incarnation, now))),
            None => {}
        }
        true
    }

    fn sighted(&mut self, member: Member, address: A) {
        let stay = match self.present.get(&member.replica).map(|known| &known.visit) {
            Some(known) if known.member.incarnation > member.incarnation => return,
            Some(known) if known.member.incarnation == member.incarnation => known.stay,
            _ => {
                self.stays += 1;
                self.stays
            }
        };
        let replica = member.replica.clone();
        self.present.insert(replica, Present { visit: Visit { member, address, stay }, missing: None });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use murmuration::replication::ReplicaCard;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(50);

    fn member(name: &str, incarnation: u64) -> (Member, ()) {
        let card = ReplicaCard::new(SocketAddr::from(([127, 0, 0, 1], 1)), None, String::new());
        let replica = ReplicaId(name.to_owned());
        (Member { replica, incarnation: Incarnation(incarnation), card, head: 0 }, ())
    }

    fn names(visits: &[Visit<()>]) -> Vec<(&str, u64, u64)> {
        let of = |visit: &Visit<()>| (visit.member.incarnation.0, visit.stay);
        visits.iter().map(|visit| (visit.member.replica.0.as_str(), of(visit).0, of(visit).1)).collect()
    }

    #[test]
    fn who_is_missing_goes_at_once_and_begins_another_stay_when_it_returns() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        assert_eq!(names(&membership.look(at(0), vec![member("b", 1), member("a", 1)])), [("a", 1, 2), ("b", 1, 1)]);
        assert_eq!(names(&membership.look(at(50), vec![member("b", 1)])), [("b", 1, 1)]);
        assert_eq!(names(&membership.look(at(100), vec![member("b", 1), member("a", 1)])), [("a", 1, 3), ("b", 1, 1)]);
    }

    #[test]
    fn a_newer_life_replaces_the_older_and_never_the_other_way_round() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.look(at(0), vec![member("a", 1)]);
        assert_eq!(names(&membership.look(at(50), vec![member("a", 2)])), [("a", 2, 2)]);
        assert_eq!(names(&membership.look(at(100), vec![member("a", 2), member("a", 1)])), [("a", 2, 2)]);
    }

    #[test]
    fn when_the_newer_life_is_missing_the_older_is_not_taken_for_it() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.look(at(0), vec![member("a", 2)]);
        assert_eq!(names(&membership.look(at(50), Vec::new())), []);
        assert_eq!(
            names(&membership.look(at(100), vec![member("a", 1)])),
            [],
            "somebody who was cut off still tells of it"
        );
        assert_eq!(names(&membership.look(at(150), vec![member("a", 2)])), [("a", 2, 2)]);
        for look in 1..=REMEMBERED_MAX + 10 {
            membership.look(at(150), vec![member(&format!("r{look}"), 1)]);
        }
        assert_eq!(membership.newest.len(), REMEMBERED_MAX);
        membership.look(at(151) + MEMORY, Vec::new());
        assert_eq!(membership.newest.len(), 0);
    }

    #[test]
    fn after_a_freeze_of_our_own_the_missing_are_kept_for_a_moment_and_not_for_ever() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.look(at(0), vec![member("a", 1), member("b", 1)]);
        assert_eq!(membership.look(at(5_000), Vec::new()).len(), 2, "we were frozen, not they");
        assert_eq!(names(&membership.look(at(5_050), vec![member("a", 1)])).len(), 2);
        for look in 1..19 {
            assert_eq!(membership.look(at(5_050 + look * 50), vec![member("a", 1)]).len(), 2);
        }
        assert_eq!(names(&membership.look(at(6_000), vec![member("a", 1)])), [("a", 1, 1)], "b never came back");
    }

    #[test]
    fn even_a_replica_that_is_always_late_lets_the_dead_go() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.look(at(0), vec![member("a", 1)]);
        assert_eq!(membership.look(at(400), Vec::new()).len(), 1);
        assert_eq!(membership.look(at(800), Vec::new()).len(), 1);
        assert_eq!(membership.look(at(1_200), Vec::new()).len(), 1);
        assert_eq!(membership.look(at(1_600), Vec::new()).len(), 0);
    }
}
