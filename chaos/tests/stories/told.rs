//! A story as it was told: all that happened, and words to ask about it.
//!
//! Must not know any story.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use murmuration_chaos::chronicle::{End, Entry, Fact, Phase, Witness};
use murmuration_chaos::judge::Summary;
use murmuration_chaos::plan::Plan;
use murmuration_chaos::trial::judged;
use murmuration_chaos::{report, sim};

/// Says to a process that it is the one in which the story happens.
const HERE: &str = "MURMURATION_STORY";

/// A story that was told.
pub(crate) struct Told {
    pub(crate) entries: Vec<Entry>,
    pub(crate) summary: Summary,
    begin: Duration,
}

/// A request's life.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) asked: Duration,
    pub(crate) sent_by: Option<usize>,
    pub(crate) refused: bool,
    pub(crate) to: Option<String>,
    pub(crate) end: End,
    pub(crate) prompt: (u64, u64),
}

/// Lets the story of `plan` happen in a process of its own, in which the test `name` is run again, because a town's chance belongs to its
/// process: there all promises must be kept, and `point` must hold.
pub(crate) fn tell(name: &str, plan: &str, point: impl FnOnce(&Told)) {
    if std::env::var_os(HERE).is_some() {
        point(&live(Plan::read(plan, name).unwrap()));
        return;
    }
    let mut itself = Command::new(std::env::current_exe().unwrap());
    let ended = itself.args(["--exact", name, "--nocapture"]).env(HERE, "1").output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

fn live(plan: Plan) -> Told {
    let mut entries = Vec::new();
    let town =
        |plan: &Plan, sink: &mut dyn FnMut(Entry) -> bool| sim::run(plan, sink).map_err(|error| error.to_string());
    let summary = judged(&plan, town, &mut |entry| entries.push(entry.clone()));
    let storm = |entry: &&Entry| entry.fact == Fact::Phase(Phase::Storm);
    let begin = entries.iter().find(storm).map(|entry| entry.at).unwrap_or_default();
    print!("{}", report::epilogue(&summary, &format!("chaos/plans/stories/{}.yaml", plan.name)));
    assert_eq!(summary.verdict.exit_code(), 0, "{}", summary.verdict.told());
    Told { entries, summary, begin }
}

/// The same town and the same requests, without any fault.
pub(crate) fn calm(plan: &str) -> Told {
    live(Plan { faults: Vec::new(), ..Plan::read(plan, "story").unwrap() })
}

/// Seconds of the storm.
pub(crate) fn s(from: f64, to: f64) -> Range<Duration> {
    Duration::from_secs_f64(from)..Duration::from_secs_f64(to)
}

// === impl Told ===

impl Told {
    /// What happened in this part of the storm.
    pub(crate) fn within(&self, part: Range<Duration>) -> impl Iterator<Item = &Entry> {
        let (from, to) = (self.begin + part.start, self.begin + part.end);
        self.entries.iter().filter(move |entry| (from..to).contains(&entry.at))
    }

    /// The requests that were asked in this part of the storm, and are over.
    pub(crate) fn requests(&self, part: Range<Duration>) -> Vec<Request> {
        let asked = self.within(part).filter_map(|entry| match entry.fact {
            Fact::Asked { request, attempt: 0, .. } => Some((request, entry.at)),
            _ => None,
        });
        asked.filter_map(|(number, asked)| self.request(number, asked)).collect()
    }

    /// The share of prompt tokens that were in the cache, of requests asked in this part of the storm.
    pub(crate) fn cached(&self, part: Range<Duration>) -> f64 {
        let requests = self.requests(part);
        let served = requests.iter().filter(|request| request.end == End::Served);
        let (prompt, cached) = served.fold((0, 0), |sum, request| (sum.0 + request.prompt.0, sum.1 + request.prompt.1));
        cached as f64 / (prompt as f64).max(1.0)
    }

    /// Decisions that replicas of which `which` says so made in this part of the storm.
    pub(crate) fn picks(&self, part: Range<Duration>, which: impl Fn(usize) -> bool) -> usize {
        let picks = self.within(part).filter(|entry| match (entry.by, &entry.fact) {
            (Witness::Replica(replica, _), Fact::Told(murmuration::event::Event::Decided(_))) => which(replica),
            _ => false,
        });
        picks.count()
    }

    fn request(&self, number: u64, asked: Duration) -> Option<Request> {
        let mut life = Request {
            asked: asked - self.begin,
            sent_by: None,
            refused: false,
            to: None,
            end: End::Served,
            prompt: (0, 0),
        };
        for entry in &self.entries {
            match &entry.fact {
                Fact::Sent { request, replica, to } if *request == number => {
                    (life.sent_by, life.to) = (Some(*replica), to.as_ref().map(ToString::to_string));
                }
                Fact::Refused { request, .. } if *request == number => life.refused = true,
                Fact::Done { request, end, prompt, .. } if *request == number => {
                    (life.end, life.prompt) = (*end, *prompt);
                    return Some(life);
                }
                _ => {}
            }
        }
        None
    }
}
