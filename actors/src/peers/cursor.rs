//! How far a follower has received, and in which incarnation of its peer.
//!
//! Must not know streams. Numbers of two incarnations are never compared: a new incarnation starts at 0.

use murmuration::id::Incarnation;
use murmuration::replication::Member;

/// The position up to which all facts were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The incarnation that `upto` counts in: that of the members, or a newer one from the peer's greeting.
    pub(super) incarnation: Incarnation,
    /// All facts up to this number were received.
    pub(super) upto: u64,
    /// The last incarnation from the members.
    announced: Incarnation,
}

// === impl Cursor ===

impl Cursor {
    /// A cursor at 0: nothing was received from `member`.
    pub(super) fn new(member: &Member) -> Self {
        Self { incarnation: member.incarnation, upto: 0, announced: member.incarnation }
    }

    /// The members report this incarnation. `true` when what was received belongs to another one.
    pub(super) fn announced(&mut self, incarnation: Incarnation) -> bool {
        let moved =
            std::mem::replace(&mut self.announced, incarnation) != incarnation && self.incarnation != incarnation;
        if moved {
            (self.incarnation, self.upto) = (incarnation, 0);
        }
        moved
    }

    /// The peer greets in `incarnation` with its last number. `false` when that incarnation is over.
    pub(super) fn greeted(&mut self, incarnation: Incarnation, head: u64) -> bool {
        if incarnation < self.announced {
            return false;
        }
        if incarnation != self.incarnation || head < self.upto {
            (self.incarnation, self.upto) = (incarnation, 0);
        }
        true
    }

    /// Whether the members report a higher head than was received.
    pub(super) fn is_behind(&self, member: &Member) -> bool {
        member.incarnation == self.incarnation && member.head > self.upto
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use murmuration::id::ReplicaId;
    use murmuration::replication::ReplicaCard;

    use super::*;

    fn member(incarnation: u64, head: u64) -> Member {
        let card = ReplicaCard::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), None, String::new());
        Member {
            replica: ReplicaId("b".into()),
            incarnation: Incarnation(incarnation),
            card,
            head,
            heads: Default::default(),
        }
    }

    fn at(incarnation: u64, upto: u64) -> Cursor {
        Cursor { upto, ..Cursor::new(&member(incarnation, 0)) }
    }

    #[test]
    fn the_same_incarnation_continues_and_a_new_one_starts_at_zero() {
        let mut cursor = at(3, 40);
        assert!(!cursor.announced(Incarnation(3)) && cursor.greeted(Incarnation(3), 40));
        assert_eq!(cursor.upto, 40);
        assert!(cursor.announced(Incarnation(4)));
        assert_eq!((cursor.incarnation, cursor.upto), (Incarnation(4), 0));
    }

    #[test]
    fn a_greeting_may_be_newer_than_the_members_but_not_older() {
        let mut cursor = at(3, 40);
        assert!(cursor.greeted(Incarnation(5), 7));
        cursor.upto = 7;
        assert!(!cursor.announced(Incarnation(3)), "the members are late");
        assert!(!cursor.announced(Incarnation(5)), "and catch up");
        assert_eq!(cursor.upto, 7);
        assert!(!cursor.greeted(Incarnation(4), 100), "an incarnation that is over");
    }

    #[test]
    fn a_head_below_the_cursor_restarts_at_zero() {
        let mut cursor = at(3, 40);
        assert!(cursor.greeted(Incarnation(3), 39));
        assert_eq!(cursor.upto, 0);
    }

    #[test]
    fn heads_of_another_incarnation_are_ignored() {
        let cursor = at(3, 40);
        assert!(cursor.is_behind(&member(3, 41)));
        assert!(!cursor.is_behind(&member(3, 40)) && !cursor.is_behind(&member(4, 41)));
    }
}
