//! A storm in figures: a pure function of what was observed.
//!
//! Must not know bars, tables or pictures.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

use super::fault_injector::Injection;
use super::run::Observed;
use super::series::Buckets;
use super::watch::{Observation, Observations};
use murmuration_kit::client::{Cause, Sample, quantile};
use murmuration_simulation::plan::{Fault, Plan, ResponsePath};

/// The load's first seconds fill the caches and are not counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// A request that a killed process held fails within this time, even on a busy machine.
const HELD_MAX: Duration = Duration::from_secs(3);
/// A kill is recorded this much too late at most.
const JUST_BEFORE: Duration = Duration::from_millis(20);
/// For how long a replica's open work may be counted after it was killed or frozen.
pub(super) const CLEAN_MAX: Duration = Duration::from_secs(2);

/// Requests that were due in one stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Stretch {
    /// How many requests.
    pub requests: usize,
    /// How many failed.
    pub failed: usize,
    /// From due to the first token, median, ms.
    pub first_token_p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub first_token_p99_ms: Option<f64>,
    /// Share of prompt tokens that engines found in their caches.
    pub cached_share: Option<f64>,
}

/// A storm in figures. Spans are in seconds; `None` where there was nothing to measure.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Before the first fault, without the load's first seconds.
    pub before: Stretch,
    /// From the first fault's beginning to the last one's end.
    pub during: Stretch,
    /// After the last fault's end.
    pub after: Stretch,
    /// All failures, by cause.
    pub failures: BTreeMap<String, u64>,
    /// Failures of requests that a killed engine held, or a killed replica where replicas see answers, and that broke
    /// then.
    pub held: usize,
    /// All other failures.
    pub failed: usize,
    /// Their share of all requests.
    pub failed_share: f64,
    /// Added time to the first token, during the storm compared with before it: median, ms.
    pub added_p50_ms: Option<f64>,
    /// The same, 99th percentile.
    pub added_p99_ms: Option<f64>,
    /// The cached share during the storm, divided by the one before it.
    pub cached_ratio: Option<f64>,
    /// The longest time until no replica counted the open work of one that was killed or frozen.
    pub clean_s: Option<f64>,
    /// Observations that counted it later than two seconds.
    pub ghosts: usize,
    /// From the last fault's end until all replicas see and follow each other.
    pub heal_s: Option<f64>,
    /// From the last answer until all replicas believe the same; `None` if they never did.
    pub equal_s: Option<f64>,
    /// Parts of the beliefs that differed when last observed.
    pub unequal: BTreeSet<String>,
    /// Share of questions that all available replicas answered alike: before, during, after.
    pub agreement: [Option<f64>; 3],
    /// Decisions during cuts of the replica that made the fewest.
    pub fewest_decisions: Option<f64>,
    /// Age of received facts, 99th percentile, by lane: before, during, after. Seconds; a bucket's upper edge.
    pub age_p99_s: BTreeMap<String, [Option<f64>; 3]>,
}

/// The storm's first and last moment.
pub(super) fn window(observed: &Observed) -> (Duration, Duration) {
    let begins = observed.injections.iter().map(|injection| injection.began).min();
    let ends = observed.injections.iter().map(|injection| injection.ended).max();
    (begins.unwrap_or(observed.quiet), ends.unwrap_or(observed.quiet))
}

impl Figures {
    pub(super) fn of(plan: &Plan, observed: &Observed) -> Self {
        let (begins, ends) = window(observed);
        let stretch = |from: Duration, to: Duration| {
            Stretch::of(observed.tally.samples.iter().filter(move |sample| (from..to).contains(&sample.due)))
        };
        let (before, during) = (stretch(WARM_UP.min(begins / 2), begins), stretch(begins, ends));
        let after = stretch(ends, Duration::MAX);
        let sees_answers = plan.cluster.response_path == ResponsePath::Stay;
        let held = held(&observed.injections, &observed.tally.samples, sees_answers);
        let all = observed.tally.samples.len();
        let failed = all - observed.tally.ok() - held;
        let more = |now: Option<f64>, then: Option<f64>| Some(now? - then?);
        let (clean_s, ghosts) = clean(observed, plan.cluster.replicas);
        let late = |at: Duration| [at < begins, at < ends, true].iter().position(|is| *is).unwrap_or(2);
        Self {
            failures: observed.tally.failures().into_iter().map(|(cause, count)| (cause.to_string(), count)).collect(),
            held,
            failed,
            failed_share: if all == 0 { 0.0 } else { failed as f64 / all as f64 },
            added_p50_ms: more(during.first_token_p50_ms, before.first_token_p50_ms),
            added_p99_ms: more(during.first_token_p99_ms, before.first_token_p99_ms),
            cached_ratio: during.cached_share.zip(before.cached_share).map(|(now, then)| now / then.max(1e-9)),
            clean_s,
            ghosts,
            heal_s: heal(observed, ends, plan.cluster.replicas),
            equal_s: equal(observed),
            unequal: unequal(observed),
            agreement: agreement(&observed.observations, late),
            fewest_decisions: fewest_decisions(observed, plan.cluster.replicas),
            age_p99_s: ages(&observed.observations, late),
            before,
            during,
            after,
        }
    }
}

impl Stretch {
    pub(super) fn of<'s>(samples: impl Iterator<Item = &'s Sample>) -> Self {
        let (mut stretch, mut firsts, mut prompt, mut cached) = (Self::default(), Vec::new(), 0, 0);
        for sample in samples {
            stretch.requests += 1;
            match &sample.outcome {
                Ok(success) => {
                    firsts.push(success.first_token);
                    let usage = success.usage.unwrap_or_default();
                    prompt += usage.prompt_tokens;
                    cached += usage.cached_tokens;
                }
                Err(_) => stretch.failed += 1,
            }
        }
        firsts.sort_unstable();
        let ms = |q| quantile(&firsts, q).map(|span| span.as_secs_f64() * 1e3);
        (stretch.first_token_p50_ms, stretch.first_token_p99_ms) = (ms(0.5), ms(0.99));
        stretch.cached_share = (prompt > 0).then(|| cached as f64 / prompt as f64);
        stretch
    }
}

/// Failures that killed processes caused: of each no more than it held (and one that came during the reading), and none
/// twice. A killed replica breaks nothing unless replicas see answers.
pub(super) fn held(injections: &[Injection], samples: &[Sample], replicas_see_answers: bool) -> usize {
    let mut charged = BTreeSet::new();
    let breaks = |fault: &Fault| match fault {
        Fault::Kill { .. } => replicas_see_answers,
        fault => matches!(fault, Fault::EngineKill { .. }),
    };
    for kill in injections.iter().filter(|injection| breaks(&injection.fault)) {
        let broke = samples.iter().enumerate().filter(|(number, sample)| {
            let open = sample.due < kill.began
                && sample.ended + JUST_BEFORE >= kill.began
                && sample.ended < kill.began + HELD_MAX;
            open && matches!(sample.outcome, Err(cause) if cause != Cause::NotSent) && !charged.contains(number)
        });
        let room = kill.held as usize + kill.killed;
        let broke: Vec<usize> = broke.map(|(number, _)| number).take(room).collect();
        charged.extend(broke);
    }
    charged.len()
}

/// Injections that silence a replica (kills and freezes), each with the replica.
fn silenced(injections: &[Injection]) -> impl Iterator<Item = (&Injection, usize)> {
    let silent =
        injections.iter().filter(|injection| matches!(injection.fault, Fault::Kill { .. } | Fault::Freeze { .. }));
    silent.flat_map(|injection| injection.replicas.iter().map(move |replica| (injection, *replica)))
}

fn clean(observed: &Observed, replicas: usize) -> (Option<f64>, usize) {
    let (mut longest, mut ghosts) = (None, 0);
    for (injection, dead) in silenced(&observed.injections) {
        if replicas - injection.replicas.len() < 1 {
            continue;
        }
        let counted = observed.observations.seen.iter().filter(|look| {
            let seen = look.seen.as_ref().filter(|_| !injection.replicas.contains(&look.replica));
            (injection.began..injection.ended).contains(&look.at)
                && seen.is_some_and(|seen| seen.open.get(&dead).is_some_and(|open| *open > 0))
        });
        let after: Vec<Duration> = counted.map(|look| look.at - injection.began).collect();
        ghosts += after.iter().filter(|after| **after > CLEAN_MAX).count();
        let last = after.iter().max().map_or(0.0, Duration::as_secs_f64);
        longest = Some(f64::max(longest.unwrap_or(0.0), last));
    }
    (longest, ghosts)
}

fn heal(observed: &Observed, ends: Duration, replicas: usize) -> Option<f64> {
    if observed.injections.is_empty() || replicas < 2 {
        return None;
    }
    let is_well = |look: &Observation| look.seen.as_ref().is_some_and(|seen| seen.well.len() + 1 >= replicas);
    let sick = observed.observations.seen.iter().filter(|look| look.at >= ends && !is_well(look));
    Some(sick.map(|look| (look.at - ends).as_secs_f64()).fold(0.0, f64::max))
}

/// The digests of a replica's beliefs, by part; `None` if it did not answer.
type Digest<'o> = Option<&'o BTreeMap<String, String>>;

/// What was observed after the last answer, by round: when, and each different digest.
fn rounds(observed: &Observed) -> BTreeMap<u64, (Duration, BTreeSet<Digest<'_>>)> {
    let mut rounds = BTreeMap::new();
    for look in observed.observations.seen.iter().filter(|look| look.at >= observed.quiet) {
        let round: &mut (Duration, BTreeSet<_>) = rounds.entry(look.number).or_insert((look.at, BTreeSet::new()));
        round.1.insert(look.seen.as_ref().map(|seen| &seen.digest));
    }
    rounds
}

fn equal(observed: &Observed) -> Option<f64> {
    let rounds = rounds(observed);
    let alike = |digests: &BTreeSet<Digest<'_>>| digests.len() == 1 && !digests.contains(&None);
    let last = rounds.values().next_back()?;
    if !alike(&last.1) {
        return None;
    }
    let unlike = rounds.values().filter(|(_, digests)| !alike(digests)).map(|(at, _)| *at).max();
    Some(unlike.map_or(0.0, |at| (at - observed.quiet).as_secs_f64()))
}

fn unequal(observed: &Observed) -> BTreeSet<String> {
    let rounds = rounds(observed);
    let Some((_, last)) = rounds.values().next_back() else { return BTreeSet::new() };
    let mut parts: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (part, digest) in last.iter().flatten().flat_map(|digests| digests.iter()) {
        parts.entry(part).or_default().insert(digest);
    }
    let mut unequal: BTreeSet<String> =
        parts.into_iter().filter(|(_, digests)| digests.len() > 1).map(|(part, _)| part.to_owned()).collect();
    unequal.extend(last.contains(&None).then(|| "no answer".to_owned()));
    unequal
}

fn agreement(observations: &Observations, late: impl Fn(Duration) -> usize) -> [Option<f64>; 3] {
    let mut sums = [(0.0, 0.0); 3];
    for asked in &observations.asked {
        let Some(agreement) = asked.agreement() else { continue };
        let (alike, all) = &mut sums[late(asked.at)];
        *all += 1.0;
        *alike += f64::from(u8::from(agreement >= 1.0));
    }
    sums.map(|(alike, all)| (all > 0.0).then(|| alike / all))
}

fn fewest_decisions(observed: &Observed, replicas: usize) -> Option<f64> {
    let cuts = observed.injections.iter().filter(|injection| matches!(injection.fault, Fault::Cut { .. }));
    let counts = cuts.flat_map(|cut| {
        (0..replicas).map(|replica| {
            let within = observed
                .observations
                .readings
                .iter()
                .filter(|one| one.replica == replica && (cut.began..cut.ended).contains(&one.at));
            let counts: Vec<f64> = within.map(|one| one.decisions).collect();
            counts.last().zip(counts.first()).map_or(0.0, |(last, first)| last - first)
        })
    });
    counts.reduce(f64::min)
}

/// By lane and stretch: the 99th percentile of the age of facts that were received in it.
fn ages(observations: &Observations, late: impl Fn(Duration) -> usize) -> BTreeMap<String, [Option<f64>; 3]> {
    let mut sums: BTreeMap<String, [Buckets; 3]> = BTreeMap::new();
    for (at, lane, words) in super::series::words(observations) {
        let sum = &mut sums.entry(lane).or_default()[late(at)];
        super::series::add(sum, &words);
    }
    sums.into_iter().map(|(lane, sums)| (lane, sums.map(|sum| super::series::p99(&sum)))).collect()
}
