//! How far a follower has heard, and of which life of its peer.
//!
//! Must not know streams. Numbers of two lives are never compared: a new life begins at 0.

use murmuration::id::Incarnation;
use murmuration::replication::Member;

/// The place up to which all was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The life that `upto` counts in: the members's, or a newer one that the peer itself told.
    pub(super) incarnation: Incarnation,
    /// All up to this number was heard.
    pub(super) upto: u64,
    /// The life that the members named last.
    announced: Incarnation,
}

// === impl Cursor ===

impl Cursor {
    /// Nothing was heard of `member`.
    pub(super) fn new(member: &Member) -> Self {
        Self { incarnation: member.incarnation, upto: 0, announced: member.incarnation }
    }

    /// The members names this life; `true` when what was heard belongs to another.
    pub(super) fn announced(&mut self, incarnation: Incarnation) -> bool {
        let moved =
            std::mem::replace(&mut self.announced, incarnation) != incarnation && self.incarnation != incarnation;
        if moved {
            (self.incarnation, self.upto) = (incarnation, 0);
        }
        moved
    }

    /// The peer greets in `incarnation` with its last number; `false` when it is a life that is over.
    pub(super) fn greeted(&mut self, incarnation: Incarnation, head: u64) -> bool {
        if incarnation < self.announced {
            return false;
        }
        if incarnation != self.incarnation || head < self.upto {
            (self.incarnation, self.upto) = (incarnation, 0);
        }
        true
    }

    /// Whether the members knows of more than was heard.
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
        Member { replica: ReplicaId("b".into()), incarnation: Incarnation(incarnation), card, head }
    }

    fn heard(incarnation: u64, upto: u64) -> Cursor {
        Cursor { upto, ..Cursor::new(&member(incarnation, 0)) }
    }

    #[test]
    fn the_same_life_continues_and_a_new_one_begins_at_nothing() {
        let mut cursor = heard(3, 40);
        assert!(!cursor.announced(Incarnation(3)) && cursor.greeted(Incarnation(3), 40));
        assert_eq!(cursor.upto, 40);
        assert!(cursor.announced(Incarnation(4)));
        assert_eq!((cursor.incarnation, cursor.upto), (Incarnation(4), 0));
    }

    #[test]
    fn a_greeting_may_run_ahead_of_the_roster_and_never_behind_it() {
        let mut cursor = heard(3, 40);
        assert!(cursor.greeted(Incarnation(5), 7));
        cursor.upto = 7;
        assert!(!cursor.announced(Incarnation(3)), "the members is late");
        assert!(!cursor.announced(Incarnation(5)), "and comes after");
        assert_eq!(cursor.upto, 7);
        assert!(!cursor.greeted(Incarnation(4), 100), "a life that is over");
    }

    #[test]
    fn a_head_below_the_cursor_is_heard_anew() {
        let mut cursor = heard(3, 40);
        assert!(cursor.greeted(Incarnation(3), 39));
        assert_eq!(cursor.upto, 0);
    }

    #[test]
    fn heads_of_another_life_say_nothing() {
        let cursor = heard(3, 40);
        assert!(cursor.is_behind(&member(3, 41)));
        assert!(!cursor.is_behind(&member(3, 40)) && !cursor.is_behind(&member(4, 41)));
    }
}
