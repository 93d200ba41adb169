//! `time_only_advances`.
//!
//! Must not know clocks: an age that is longer than the world exists is a subtraction that went below zero.

use std::time::Duration;

use murmuration::event::Event;

use super::{Broken, Promise, Scene, broken};
use crate::chronicle::{Entry, Fact, Look};

/// A clock that runs too fast makes ages longer than they are, by less than a tenth.
fn oldest(scene: &Scene) -> Duration {
    scene.now() + scene.now() / 10 + Duration::from_secs(1)
}

/// See [`Promise::meaning`].
#[derive(Debug, Default)]
pub(super) struct TimeOnlyAdvances {
    last: Duration,
}

// === impl TimeOnlyAdvances ===

impl Promise for TimeOnlyAdvances {
    fn name(&self) -> &'static str {
        "time_only_advances"
    }

    fn meaning(&self) -> &'static str {
        "entries come in the order of their times, and no age or duration is longer than the world exists"
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if entry.at < self.last {
            return broken!("{:?} comes after {:?}", entry.at, self.last);
        }
        self.last = entry.at;
        let oldest = oldest(scene);
        let check = |what: &str, age: Duration| match age > oldest {
            true => broken!("{what} is {age:?} in a world that is {:?} old", scene.now()),
            false => Ok(()),
        };
        match &entry.fact {
            Fact::Looked(look) => ages(look).try_for_each(|age| check("an age", age)),
            Fact::Told(Event::BatchReceived { age: Some(age), .. }) => check("the age of a word", *age),
            Fact::Told(Event::Scraped { took, .. }) => check("the time of a scrape", *took),
            Fact::Told(Event::RequestFinished(life)) => check("a request's duration", life.duration),
            Fact::Done { first_token: Some(after), .. } => check("the time to the first token", *after),
            _ => Ok(()),
        }
    }
}

fn ages(look: &Look) -> impl Iterator<Item = Duration> + '_ {
    let reports = look.fleet.endpoints.iter().filter_map(|endpoint| endpoint.age);
    reports.chain(look.fleet.peers.iter().map(|peer| peer.quiet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promises::testing::{Tale, ms, well};

    #[test]
    fn an_age_as_long_as_the_world_with_a_fast_clock_is_legal() {
        let mut tale = Tale::calm();
        let mut look = well(0);
        look.fleet.endpoints[0].age = Some(ms(3_200));
        tale.at(2_000).look(0, look.clone());
        assert_eq!(tale.judged(TimeOnlyAdvances::default()), Ok(()));
        look.fleet.endpoints[0].age = Some(ms(3_201));
        tale.at(2_000).look(0, look);
        tale.breaks(TimeOnlyAdvances::default(), "an age is 3.201s");
    }

    #[test]
    fn history_has_no_age_and_a_word_is_no_older_than_the_world() {
        for (age, right) in [(None, true), (Some(ms(3_600_000)), false)] {
            let mut tale = Tale::calm();
            let peer = crate::promises::testing::replica(1);
            tale.told(0, Event::BatchReceived { peer, lane: "stream", facts: 1, bytes: 1, age });
            assert_eq!(tale.judged(TimeOnlyAdvances::default()).is_ok(), right);
        }
    }

    #[test]
    fn an_entry_before_the_last_one_is_not() {
        let mut tale = Tale::calm();
        tale.at(999).look(0, well(0));
        tale.breaks(TimeOnlyAdvances::default(), "999ms comes after 1s");
    }
}
