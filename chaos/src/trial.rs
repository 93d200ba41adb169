//! One run of a plan before its judge, in this process or in one of its own.
//!
//! Must not know what is tried, nor who asked for it.

mod child;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use child::{Outcome, Trials};

use crate::chronicle::Entry;
use crate::judge::{Judge, Summary, Verdict};
use crate::plan::Plan;

/// Whatever brings a plan to life: calls the sink with each entry in order until that is `false`.
pub type Town = fn(&Plan, &mut dyn FnMut(Entry) -> bool) -> Result<(), String>;

/// Runs `plan` in `town` before all promises. `show` sees each entry, also the one that breaks a promise.
pub fn judged(plan: &Plan, town: Town, show: &mut dyn FnMut(&Entry)) -> Summary {
    let begun = tokio::time::Instant::now();
    let mut judge = Judge::new(plan);
    let mut sink = |entry: Entry| {
        show(&entry);
        judge.see(&entry)
    };
    // A panic of the town is a finding; nothing of what it leaves behind is used but the judge, which has seen whole entries.
    let ended = catch_unwind(AssertUnwindSafe(|| town(plan, &mut sink)));
    let crash = match ended {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(said(panic.as_ref())),
    };
    let (verdict, figures) = judge.conclude();
    let verdict = match (verdict, crash) {
        (verdict @ Verdict::Broken { healing: false, .. }, _) | (verdict, None) => verdict,
        (_, Some(why)) => Verdict::Crashed { why },
    };
    Summary { plan: plan.name.clone(), verdict, figures, wall_s: begun.elapsed().as_secs_f64() }
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.as_deref().unwrap_or("without a word"))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A town that plays what a plan's name says.
    //!
    //! Must not know turmoil.

    use super::*;
    use crate::chronicle::Fact;
    use crate::promises::testing::{Tale, well};

    /// Plays `well`, `panics`, `fails`, or `breaks` a promise.
    pub(crate) fn play(plan: &Plan, sink: &mut dyn FnMut(Entry) -> bool) -> Result<(), String> {
        let mut tale = Tale::calm();
        match plan.name.as_str() {
            "panics" => panic!("boom"),
            "fails" => return Err("no room".into()),
            "breaks" => tale.client(Fact::Sent { request: 1, replica: 0, to: None }),
            _ => tale.look(0, well(0)),
        }
        tale.entries.into_iter().all(sink);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_its_verdict() {
        for (name, code, words) in [
            ("well", 0, "all promises kept"),
            ("panics", 127, "crash: panic: boom"),
            ("fails", 127, "crash: no room"),
            ("breaks", 129, "every_ask_gets_one_answer broken at 1.000s"),
        ] {
            let plan = Plan { name: name.into(), ..Plan::from_seed(1) };
            let mut seen = 0;
            let summary = judged(&plan, testing::play, &mut |_| seen += 1);
            assert_eq!(summary.verdict.exit_code(), code, "{summary:?}");
            assert!(summary.verdict.told().starts_with(words), "{}", summary.verdict.told());
            assert_eq!(seen > 0, !matches!(name, "panics" | "fails"));
        }
    }
}
