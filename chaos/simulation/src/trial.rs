//! One run of a plan under the checker, in this process or in one of its own.
//!
//! Must not know which plan is run, nor why.

mod child;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use child::{Outcome, Trials};

use crate::checker::{Checker, Summary, Verdict};
use crate::history::Entry;
use crate::plan::Plan;

/// Runs a plan: calls the sink with each entry in order, until the sink returns `false`.
pub type Simulate = fn(&Plan, &mut dyn FnMut(Entry) -> bool) -> Result<(), String>;

/// Runs `plan` with `simulate` and checks all invariants. `show` gets each entry, including the one that breaks an
/// invariant.
pub fn check(plan: &Plan, simulate: Simulate, show: &mut dyn FnMut(&Entry)) -> Summary {
    let begun = tokio::time::Instant::now();
    let mut checker = Checker::new(plan);
    let mut sink = |entry: Entry| {
        show(&entry);
        checker.see(&entry)
    };
    // A panic in the simulation is a finding. After it only the checker is used, which has seen whole entries only, so
    // the unwind is safe.
    let ended = catch_unwind(AssertUnwindSafe(|| simulate(plan, &mut sink)));
    let crash = match ended {
        Ok(Ok(())) => None,
        Ok(Err(why)) => Some(why),
        Err(panic) => Some(panic_message(panic.as_ref())),
    };
    let (verdict, figures) = checker.conclude();
    let verdict = match (verdict, crash) {
        (verdict @ Verdict::Broken { recovery: false, .. }, _) | (verdict, None) => verdict,
        (_, Some(why)) => Verdict::Crashed { why },
    };
    Summary { plan: plan.name.clone(), verdict, figures, wall_s: begun.elapsed().as_secs_f64() }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("panic: {}", text.as_deref().unwrap_or("without a message"))
}

#[cfg(test)]
pub(crate) mod testing {
    //! A stand-in for the cluster: the name of the plan selects the history that it plays.

    use super::*;
    use crate::history::Fact;
    use crate::invariants::testing::{HistoryBuilder, well};

    /// Plays a history without violations (`well`), `panics`, `fails` to start, or `breaks` an invariant.
    pub(crate) fn play(plan: &Plan, sink: &mut dyn FnMut(Entry) -> bool) -> Result<(), String> {
        let mut history = HistoryBuilder::calm();
        match plan.name.as_str() {
            "panics" => panic!("boom"),
            "fails" => return Err("no room".into()),
            "breaks" => history.client(Fact::Sent { request: 1, replica: 0, to: None }),
            _ => history.snapshot(0, well(0)),
        }
        history.entries.into_iter().all(sink);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_end_has_its_verdict() {
        for (name, code, words) in [
            ("well", 0, "all invariants kept"),
            ("panics", 127, "crash: panic: boom"),
            ("fails", 127, "crash: no room"),
            ("breaks", 129, "every_ask_gets_one_answer broken at 1.000s"),
        ] {
            let plan = Plan { name: name.into(), ..Plan::from_seed(1) };
            let mut seen = 0;
            let summary = check(&plan, testing::play, &mut |_| seen += 1);
            assert_eq!(summary.verdict.exit_code(), code, "{summary:?}");
            assert!(summary.verdict.told().starts_with(words), "{}", summary.verdict.told());
            assert_eq!(seen > 0, !matches!(name, "panics" | "fails"));
        }
    }
}
