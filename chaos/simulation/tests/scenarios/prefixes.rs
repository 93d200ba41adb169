//! What replicas believe of prefixes after something was missed: in the end all know the same.

use super::*;

/// A replica is cut off, then another one, while clients go away. A side revokes prompts that the other one placed too.
/// What one replica knows to be held, all know in the end.
#[test]
fn a_prompt_on_both_sides_of_a_cut() {
    tell("a-prompt-on-both-sides-of-a-cut", |told| {
        let gone = told.requests(s(2.0, 11.0)).iter().filter(|request| request.end == End::Vanished).count();
        assert!(gone > 50, "{gone}");
        let last = last_prefixes(told);
        assert_eq!(last, [last[0]; 3]);
    });
}

/// What each replica believes of prefixes in the end.
fn last_prefixes(told: &Told) -> Vec<u64> {
    let last = |replica: usize| {
        let mut of_it = told.entries.iter().rev().filter_map(Entry::snapshot).filter(|(by, _)| *by == replica);
        of_it.next().map(|(_, snapshot)| snapshot.digest.prefixes)
    };
    (0..).map_while(last).collect()
}

/// What a replica placed just before its death, one that was frozen meanwhile learns from the third.
#[test]
fn a_replica_dies_while_another_is_frozen() {
    tell("a-replica-dies-while-another-is-frozen", |told| {
        assert!(told.picks(s(3.5, 4.5), |replica| replica == 0) > 3);
        let last = last_prefixes(told);
        assert_eq!((last.len(), last[1]), (3, last[2]));
    });
}

/// Requests are served while relays die, and in the end the replicas that never died know the same.
#[test]
fn relays_between_zones_die() {
    tell("relays-between-zones-die", |told| {
        let served = told.requests(s(2.0, 10.0)).iter().filter(|request| request.end == End::Served).count();
        assert!(served > 280, "{served}");
        let last = last_prefixes(told);
        assert_eq!([last[0], last[4], last[5]], [last[2]; 3], "the others died");
    });
}

/// Two schedulers that lost all they knew, at the same time, know in the end what the others know.
#[test]
fn two_schedulers_die_at_once() {
    tell("two-schedulers-die-at-once", |told| {
        let last = last_prefixes(told);
        assert_eq!(last, [last[0]; 4]);
    });
}
