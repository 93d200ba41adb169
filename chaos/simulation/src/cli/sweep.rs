//! `chaos sweep`: many seeds, each in a process of its own.
//!
//! Must not know what a seed means.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::args::Sweep;
use super::{Failure, USAGE};
use crate::checker::{Summary, Verdict};
use crate::report;
use crate::trial::Trials;

/// The most failures that are listed by seed; the rest are only counted.
const FAILURES_MAX: usize = 1_000;

/// The result of a sweep.
#[derive(Debug, Default, Serialize)]
struct Swept {
    seeds: u64,
    kept: u64,
    crashed: u64,
    not_recovered: u64,
    broken: u64,
    requests: u64,
    by_invariant: BTreeMap<String, u64>,
    failures: BTreeMap<u64, String>,
    virtual_s: f64,
    wall_s: f64,
    times_real: f64,
    heal_worst_s: f64,
}

/// Runs the sweep; the exit code is that of its worst seed.
pub(super) fn run(flags: &Sweep) -> Result<ExitCode, Failure> {
    let minutes = flags.minutes.unwrap_or(f64::from(u32::MAX));
    if !(0.0..=f64::from(u32::MAX)).contains(&minutes) {
        return Err(Failure::Usage(format!("minutes must be 0 or more, not {minutes}")));
    }
    let (trials, begun) = (Trials::new().map_err(Failure::Machine)?, Instant::now());
    let jobs = flags.jobs.or_else(|| std::thread::available_parallelism().ok()).map_or(1, usize::from);
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel::<(u64, Summary)>();
    let mut swept = Swept::default();
    let mut worst = 0;
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, trials, next, stop) = (sender.clone(), &trials, &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs_f64(minutes * 60.0) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= flags.seeds {
                        return;
                    }
                    let seed = flags.from.wrapping_add(number);
                    if sender.send((seed, trials.run(&seed.to_string()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (seed, summary) in receiver {
            worst = worst.max(summary.verdict.exit_code());
            if summary.verdict != Verdict::Kept {
                stop.fetch_or(flags.first, Ordering::Relaxed);
                if !flags.json {
                    println!(
                        "{seed:>8}  {}\n          {}",
                        summary.verdict.told(),
                        report::reproduce(&seed.to_string())
                    );
                }
            }
            swept.count(seed, &summary);
        }
    });
    swept.wall_s = begun.elapsed().as_secs_f64();
    swept.times_real = swept.virtual_s / swept.wall_s.max(1e-3);
    print(&swept, flags.json)?;
    Ok(ExitCode::from(if swept.seeds == 0 { USAGE } else { worst }))
}

fn print(swept: &Swept, json: bool) -> Result<(), Failure> {
    if json {
        let json = serde_json::to_string(swept).map_err(|why| Failure::Machine(why.to_string()))?;
        println!("{json}");
        return Ok(());
    }
    for (invariant, count) in &swept.by_invariant {
        println!("{count:>8}  {invariant}");
    }
    let Swept { seeds, kept, crashed, not_recovered, broken, requests, .. } = swept;
    println!(
        "{seeds} seeds: {kept} kept, {broken} broken, {not_recovered} not recovered, {crashed} crashed; {requests} requests, slowest recovery {:.2} s",
        swept.heal_worst_s
    );
    println!("{:.0} s of virtual time in {:.1} s: {:.1} x real time", swept.virtual_s, swept.wall_s, swept.times_real);
    Ok(())
}

// === impl Swept ===

impl Swept {
    fn count(&mut self, seed: u64, summary: &Summary) {
        self.seeds += 1;
        self.requests += summary.figures.requests;
        self.virtual_s += summary.figures.virtual_s;
        self.heal_worst_s = self.heal_worst_s.max(summary.figures.heal_s.unwrap_or_default());
        match &summary.verdict {
            Verdict::Kept => self.kept += 1,
            Verdict::Crashed { .. } => self.crashed += 1,
            Verdict::Broken { recovery: true, .. } => self.not_recovered += 1,
            Verdict::Broken { .. } => self.broken += 1,
        }
        if let Some(kind) = summary.verdict.kind() {
            *self.by_invariant.entry(kind.to_owned()).or_default() += 1;
            if self.failures.len() < FAILURES_MAX {
                self.failures.insert(seed, summary.verdict.told());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checker::Figures;

    #[test]
    fn each_seed_is_counted_by_how_it_ended() {
        let broken = |recovery| Verdict::Broken { invariant: "p".into(), recovery, at_s: 1.0, how: "h".into() };
        let verdicts =
            [Verdict::Kept, broken(true), broken(false), broken(false), Verdict::Crashed { why: "w".into() }];
        let mut swept = Swept::default();
        for (seed, verdict) in (0..).zip(verdicts) {
            let figures = Figures { virtual_s: 2.0, requests: 5, heal_s: Some(seed as f64), ..Figures::default() };
            swept.count(seed, &Summary { plan: String::new(), verdict, figures, wall_s: 1.0 });
        }
        assert_eq!((swept.kept, swept.not_recovered, swept.broken, swept.crashed), (1, 1, 2, 1));
        assert_eq!((swept.virtual_s, swept.requests, swept.heal_worst_s), (10.0, 25, 4.0));
        assert_eq!(swept.by_invariant, BTreeMap::from([("crash".to_owned(), 1), ("p".to_owned(), 3)]));
        assert_eq!(swept.failures.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
