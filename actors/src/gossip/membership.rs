//! The members as the rest of the replica sees them.
//!
//! Must not know chitchat's failure detector beyond its result. A replica that was itself frozen received nothing
//! meanwhile, and must not declare all peers dead for that. So right after a late update the missing are kept for a
//! moment.

use std::collections::BTreeMap;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::Member;
use murmuration::time::Timestamp;

use super::sessions::MEMORY;

/// An update that is later than its interval by more than this shows that this replica was frozen.
const FREEZE_MIN: Duration = Duration::from_millis(250);
/// How long missing members are kept after a freeze of this replica.
const FREEZE_GRACE: Duration = Duration::from_secs(1);
/// Most names whose newest incarnation is remembered.
const REMEMBERED_MAX: usize = 1_024;

/// A present member, the address that it gossips from, and the number of its stay: each return begins another stay.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PresentMember<A> {
    pub(super) member: Member,
    pub(super) address: A,
    pub(super) stay: u64,
}

/// The members at the last update.
#[derive(Debug)]
pub(super) struct MembershipView<A> {
    interval: Duration,
    present: BTreeMap<ReplicaId, Present<A>>,
    /// The newest incarnation of each name that was seen, and when.
    newest: BTreeMap<ReplicaId, (Incarnation, Timestamp)>,
    stays: u64,
    updated: Option<Timestamp>,
    frozen: Option<Timestamp>,
}

#[derive(Debug)]
struct Present<A> {
    entry: PresentMember<A>,
    missing: Option<Timestamp>,
}

// === impl MembershipView ===

impl<A: Clone> MembershipView<A> {
    /// A view that is updated each `interval`.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, present: BTreeMap::new(), newest: BTreeMap::new(), stays: 0, updated: None, frozen: None }
    }

    /// Updates the view at `now` with the members `seen` alive. Returns the present members, ordered by name.
    pub(super) fn update(&mut self, now: Timestamp, seen: Vec<(Member, A)>) -> Vec<PresentMember<A>> {
        if self.updated.is_some_and(|last| now.since(last) > self.interval + FREEZE_MIN) {
            self.frozen = Some(now);
        }
        self.updated = Some(now);
        let in_grace = self.frozen.is_some_and(|frozen| now.since(frozen) < FREEZE_GRACE);
        for present in self.present.values_mut() {
            present.missing.get_or_insert(now);
        }
        for (member, address) in seen {
            if self.is_newest(&member, now) {
                self.record_present(member, address);
            }
        }
        self.newest.retain(|_, (_, seen)| now.since(*seen) <= MEMORY);
        self.present
            .retain(|_, present| present.missing.is_none_or(|since| in_grace && now.since(since) < FREEZE_GRACE));
        self.present.values().map(|present| present.entry.clone()).collect()
    }

    /// Whether no newer incarnation of it was seen; records it if so. A peer that was cut off, or missed the end of an
    /// older incarnation, may still report that one.
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

    fn record_present(&mut self, member: Member, address: A) {
        let stay = match self.present.get(&member.replica).map(|known| &known.entry) {
            Some(known) if known.member.incarnation > member.incarnation => return,
            Some(known) if known.member.incarnation == member.incarnation => known.stay,
            _ => {
                self.stays += 1;
                self.stays
            }
        };
        let replica = member.replica.clone();
        self.present.insert(replica, Present { entry: PresentMember { member, address, stay }, missing: None });
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
        (Member { replica, incarnation: Incarnation(incarnation), card, head: 0, heads: Default::default() }, ())
    }

    fn names(present: &[PresentMember<()>]) -> Vec<(&str, u64, u64)> {
        let of = |entry: &PresentMember<()>| (entry.member.incarnation.0, entry.stay);
        present.iter().map(|entry| (entry.member.replica.0.as_str(), of(entry).0, of(entry).1)).collect()
    }

    #[test]
    fn a_missing_member_goes_at_once_and_begins_another_stay_when_it_returns() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        assert_eq!(names(&membership.update(at(0), vec![member("b", 1), member("a", 1)])), [("a", 1, 2), ("b", 1, 1)]);
        assert_eq!(names(&membership.update(at(50), vec![member("b", 1)])), [("b", 1, 1)]);
        assert_eq!(
            names(&membership.update(at(100), vec![member("b", 1), member("a", 1)])),
            [("a", 1, 3), ("b", 1, 1)]
        );
    }

    #[test]
    fn a_newer_incarnation_replaces_the_older_and_never_the_other_way_round() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.update(at(0), vec![member("a", 1)]);
        assert_eq!(names(&membership.update(at(50), vec![member("a", 2)])), [("a", 2, 2)]);
        assert_eq!(names(&membership.update(at(100), vec![member("a", 2), member("a", 1)])), [("a", 2, 2)]);
    }

    #[test]
    fn when_the_newer_incarnation_is_missing_the_older_does_not_replace_it() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.update(at(0), vec![member("a", 2)]);
        assert_eq!(names(&membership.update(at(50), Vec::new())), []);
        assert_eq!(
            names(&membership.update(at(100), vec![member("a", 1)])),
            [],
            "a peer that was cut off still reports it"
        );
        assert_eq!(names(&membership.update(at(150), vec![member("a", 2)])), [("a", 2, 2)]);
        for look in 1..=REMEMBERED_MAX + 10 {
            membership.update(at(150), vec![member(&format!("r{look}"), 1)]);
        }
        assert_eq!(membership.newest.len(), REMEMBERED_MAX);
        membership.update(at(151) + MEMORY, Vec::new());
        assert_eq!(membership.newest.len(), 0);
    }

    #[test]
    fn after_a_freeze_of_this_replica_the_missing_are_kept_only_for_a_moment() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.update(at(0), vec![member("a", 1), member("b", 1)]);
        assert_eq!(membership.update(at(5_000), Vec::new()).len(), 2, "we were frozen, not they");
        assert_eq!(names(&membership.update(at(5_050), vec![member("a", 1)])).len(), 2);
        for look in 1..19 {
            assert_eq!(membership.update(at(5_050 + look * 50), vec![member("a", 1)]).len(), 2);
        }
        assert_eq!(names(&membership.update(at(6_000), vec![member("a", 1)])), [("a", 1, 1)], "b never came back");
    }

    #[test]
    fn dead_members_go_even_when_every_update_is_late() {
        let (mut membership, at) = (MembershipView::new(INTERVAL), Timestamp::from_millis);
        membership.update(at(0), vec![member("a", 1)]);
        assert_eq!(membership.update(at(400), Vec::new()).len(), 1);
        assert_eq!(membership.update(at(800), Vec::new()).len(), 1);
        assert_eq!(membership.update(at(1_200), Vec::new()).len(), 1);
        assert_eq!(membership.update(at(1_600), Vec::new()).len(), 0);
    }
}
