//! `time_only_advances`.
//!
//! Must not know clocks. An age that is longer than the run so far comes from a subtraction that went below zero.

use std::time::Duration;

use murmuration::event::Event;

use super::{About, Broken, Invariant, Scene, broken};
use crate::history::{Entry, Fact, Snapshot};

/// The longest legal age. A clock that runs too fast makes ages longer than they are, by less than a tenth.
fn oldest(scene: &Scene) -> Duration {
    scene.now() + scene.now() / 10 + Duration::from_secs(1)
}

/// See [`Invariant::about`].
#[derive(Debug, Default)]
pub(super) struct TimeOnlyAdvances {
    last: Duration,
}

// === impl TimeOnlyAdvances ===

impl Invariant for TimeOnlyAdvances {
    fn about(&self) -> About {
        About::safety(
            "time_only_advances",
            "entries are in the order of their times, and no age or duration is longer than the run so far",
        )
    }

    fn see(&mut self, entry: &Entry, scene: &Scene) -> Result<(), Broken> {
        if entry.at < self.last {
            return broken!("{:?} comes after {:?}", entry.at, self.last);
        }
        self.last = entry.at;
        let oldest = oldest(scene);
        let check = |what: &str, age: Duration| match age > oldest {
            true => broken!("{what} is {age:?} after a run of {:?}", scene.now()),
            false => Ok(()),
        };
        match &entry.fact {
            Fact::SnapshotTaken(snapshot) => ages(snapshot).try_for_each(|age| check("an age", age)),
            Fact::Emitted(Event::BatchReceived { age: Some(age), .. }) => check("the age of a batch", *age),
            Fact::Emitted(Event::Scraped { took, .. }) => check("the time of a scrape", *took),
            Fact::Emitted(Event::RequestFinished(record)) => check("a request's duration", record.duration),
            Fact::Done { first_token: Some(after), .. } => check("the time to the first token", *after),
            _ => Ok(()),
        }
    }
}

fn ages(snapshot: &Snapshot) -> impl Iterator<Item = Duration> + '_ {
    let reports = snapshot.fleet.endpoints.iter().filter_map(|endpoint| endpoint.age);
    reports.chain(snapshot.fleet.peers.iter().map(|peer| peer.quiet))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, ms, well};

    #[test]
    fn an_age_as_long_as_the_run_with_a_fast_clock_is_legal() {
        let mut history = HistoryBuilder::calm();
        history.at(2_000).sees(0, |snapshot| snapshot.fleet.endpoints[0].age = Some(ms(3_200)));
        assert_eq!(history.check(TimeOnlyAdvances::default()), Ok(()));
        history.at(2_000).sees(0, |snapshot| snapshot.fleet.endpoints[0].age = Some(ms(3_201)));
        history.breaks(TimeOnlyAdvances::default(), "an age is 3.201s");
    }

    #[test]
    fn a_batch_may_have_no_age_and_is_no_older_than_the_run() {
        for (age, right) in [(None, true), (Some(ms(3_600_000)), false)] {
            let mut history = HistoryBuilder::calm();
            let peer = crate::invariants::testing::replica(1);
            history.told(0, Event::BatchReceived { peer, lane: "stream", facts: 1, bytes: 1, age });
            assert_eq!(history.check(TimeOnlyAdvances::default()).is_ok(), right);
        }
    }

    #[test]
    fn an_entry_before_the_last_one_is_illegal() {
        let mut history = HistoryBuilder::calm();
        history.at(999).snapshot(0, well(0));
        history.breaks(TimeOnlyAdvances::default(), "999ms comes after 1s");
    }
}
