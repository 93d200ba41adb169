//! Who relays between zones: in each zone one replica follows a replica of another zone, and the others follow it in
//! that replica's place. So a fact crosses each pair of zones once, however many replicas a zone has.
//!
//! There is no leader: every replica of a zone computes the same relay for an origin, by rendezvous hashing over the
//! zone's live replicas, so the work is spread over them. Must not know streams. Relaying saves bytes and nothing else:
//! a replica that gets nothing from its relay follows the origin itself.

use std::cmp::Reverse;
use std::net::SocketAddr;

use crate::chance::mix;
use crate::id::{PoolId, ReplicaId};
use crate::replication::card::{Member, ReplicaCard, are_apart};

/// How a replica follows an origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The replica of its own zone that it follows in the origin's place; `None` where it follows the origin itself.
    pub via: Option<Relay>,
    /// Whether it keeps a copy of what the origin published, for others of its zone: it relays, or it is the successor
    /// of the one that does.
    pub copies: bool,
}

/// A replica that relays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Its name.
    pub replica: ReplicaId,
    /// Its address for peer streams.
    pub address: SocketAddr,
}

/// The route of `me`, a replica with this card, to `origin`, for `pool`. `members` are the living peers.
pub fn route((me, card): (&ReplicaId, &ReplicaCard), origin: &Member, members: &[Member], pool: &PoolId) -> Route {
    if !card.relays || !are_apart(&card.zone, &origin.card.zone) {
        return Route::default();
    }
    let may = |card: &ReplicaCard| card.relays_for(&origin.card) && !card.draining && card.serves(pool);
    let near = members.iter().filter(|member| member.card.zone == card.zone && may(&member.card));
    let mut near: Vec<&Member> = near.filter(|member| member.replica != *me).collect();
    if near.is_empty() {
        return Route::default();
    }
    near.sort_by_key(|member| Reverse(claim(&member.replica, origin)));
    let own = claim(me, origin);
    let before = near.iter().take_while(|member| claim(&member.replica, origin) > own).count();
    let relays = may(card);
    let first = near.first().filter(|_| before > 0 || !relays);
    let via = first.and_then(|relay| Some(Relay { replica: relay.replica.clone(), address: relay.card.peer? }));
    Route { via, copies: relays && before < 2 }
}

/// Whether all `members` are reached by what a replica of `zone` sends to its followers: each follows it, or is in
/// another zone in which a replica that relays does.
pub fn all_reached<'a>(
    zone: &str,
    members: impl Iterator<Item = &'a Member> + Clone,
    follows: impl Fn(&ReplicaId) -> bool,
) -> bool {
    let relayed = |to: &Member| {
        let card = &to.card;
        let relays = |other: &Member| other.card.zone == card.zone && other.card.relays && follows(&other.replica);
        are_apart(zone, &card.zone) && card.relays && members.clone().any(relays)
    };
    members.clone().all(|member| follows(&member.replica) || relayed(member))
}

/// The strength of a replica's claim to relay for `origin`.
fn claim<'a>(replica: &'a ReplicaId, origin: &Member) -> (u64, &'a ReplicaId) {
    (mix(replica.key() ^ mix(origin.replica.key())), replica)
}

// === impl ReplicaCard ===

impl ReplicaCard {
    /// Whether a replica with this card relays what one with the card `origin` publishes: it must read and write all of
    /// it.
    fn relays_for(&self, origin: &Self) -> bool {
        self.relays && self.peer.is_some() && self.wire.1 == origin.wire.1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::SocketAddr;

    use super::*;
    use crate::id::Incarnation;

    fn member(name: &str, zone: &str) -> Member {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let card = ReplicaCard { relays: true, ..ReplicaCard::new(address, Some(address), zone.to_owned()) };
        Member {
            replica: ReplicaId(name.into()),
            incarnation: Incarnation(1),
            card,
            head: 0,
            heads: Default::default(),
        }
    }

    fn tier(of: &[(&str, &str)]) -> Vec<Member> {
        of.iter().map(|(name, zone)| member(name, zone)).collect()
    }

    /// The route of the member `me` of `tier` to `origin`.
    fn route_of(tier: &[Member], me: &str, origin: &str) -> Route {
        let find = |name: &str| tier.iter().find(|member| member.replica.0 == name);
        let (Some(own), Some(origin)) = (find(me), find(origin)) else { return Route::default() };
        let others: Vec<Member> = tier.iter().filter(|member| member.replica.0 != me).cloned().collect();
        route((&own.replica, &own.card), origin, &others, &PoolId::default())
    }

    #[test]
    fn one_of_a_zone_follows_the_origin_and_the_others_follow_it() {
        let tier = tier(&[("a", "x"), ("b", "y"), ("c", "y"), ("d", "y"), ("e", "z")]);
        let routes = ["b", "c", "d"].map(|me| route_of(&tier, me, "a"));
        let relays: Vec<_> = routes.iter().filter_map(|route| route.via.clone()).map(|via| via.replica.0).collect();
        assert_eq!((relays.len(), &relays[0]), (2, &relays[1]), "two follow the third");
        assert_eq!(routes.iter().filter(|route| route.copies).count(), 2, "the relay and its successor keep copies");
        assert!(routes.iter().all(|route| route.via.is_some() || route.copies));
        assert_eq!(route_of(&tier, "e", "a"), Route::default(), "one that is alone in its zone");
        assert_eq!(route_of(&tier, "b", "c"), Route::default(), "one of the same zone");
    }

    #[test]
    fn the_work_is_spread_and_a_lost_relay_is_followed_by_its_successor() {
        let mut all = tier(&[("b", "y"), ("c", "y"), ("d", "y")]);
        all.extend((0..60).map(|n| member(&format!("a{n}"), "x")));
        let relay_of = |tier: &[Member], origin: &str| -> Vec<String> {
            let of = tier.iter().filter(|member| member.card.zone == "y").map(|member| member.replica.0.clone());
            of.filter(|me| route_of(tier, me, origin).via.is_none()).collect()
        };
        let relays: Vec<String> = (0..60).flat_map(|n| relay_of(&all, &format!("a{n}"))).collect();
        assert_eq!(relays.len(), 60, "one for each origin");
        assert_eq!(relays.iter().collect::<BTreeSet<_>>().len(), 3);
        for n in 0..60 {
            let origin = format!("a{n}");
            let relay = &relay_of(&all, &origin)[0];
            let successor: Vec<_> =
                ["b", "c", "d"].into_iter().filter(|me| me != relay && route_of(&all, me, &origin).copies).collect();
            let left: Vec<Member> = all.iter().filter(|member| member.replica.0 != *relay).cloned().collect();
            assert_eq!(relay_of(&left, &origin), successor);
        }
    }

    #[test]
    fn replicas_that_do_not_relay_ask_nobody_and_those_that_leave_are_not_asked() {
        let mut tier = tier(&[("a", "x"), ("b", "y"), ("c", "y")]);
        tier[1].card.relays = false;
        for me in ["b", "c"] {
            assert_eq!(
                route_of(&tier, me, "a"),
                Route::default(),
                "one of them asks nobody, the other has nobody to ask"
            );
        }
        tier[1].card.relays = true;
        tier[2].card.wire.1 -= 1;
        assert_eq!(route_of(&tier, "b", "a"), Route::default(), "another wire version can't carry all");
        tier[2].card.wire.1 += 1;
        tier[2].card.draining = true;
        assert_eq!(route_of(&tier, "b", "a"), Route::default());
    }

    #[test]
    fn a_zone_is_reached_by_one_that_relays() {
        let mut tier = tier(&[("b", "x"), ("c", "y"), ("d", "y")]);
        let reached = |tier: &[Member], zone: &str, by: &[&str]| {
            all_reached(zone, tier.iter(), |replica| by.contains(&replica.0.as_str()))
        };
        assert!(reached(&tier, "x", &["b", "c"]) && reached(&tier, "x", &["b", "d"]));
        assert!(!reached(&tier, "x", &["c", "d"]), "one of the own zone follows by itself");
        assert!(!reached(&tier, "x", &["b"]) && !reached(&tier, "", &["b", "c"]));
        tier[2].card.relays = false;
        assert!(!reached(&tier, "x", &["b", "c"]), "one of an earlier release asks no relay");
        assert!(!reached(&tier, "x", &["b", "d"]), "and is none");
    }
}
