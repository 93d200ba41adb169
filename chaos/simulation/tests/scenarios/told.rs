//! Runs a scenario and queries its history.
//!
//! Must not know any scenario.
#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use murmuration_simulation::checker::Summary;
use murmuration_simulation::history::{End, Entry, Fact, Phase, Source};
use murmuration_simulation::plan::Plan;
use murmuration_simulation::trial::check;
use murmuration_simulation::{cluster, report};

/// Set in the process in which the scenario runs.
const CHILD: &str = "MURMURATION_SCENARIO";

/// A scenario that was run.
pub(crate) struct Told {
    pub(crate) entries: Vec<Entry>,
    pub(crate) summary: Summary,
    begin: Duration,
}

/// A request from its first attempt to its end.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) asked: Duration,
    pub(crate) sent_by: Option<usize>,
    pub(crate) refused: bool,
    pub(crate) to: Option<String>,
    pub(crate) end: End,
    pub(crate) prompt: (u64, u64),
}

/// Runs the scenario `name` in a process of its own, since seeded entropy belongs to a process: its test, the one that
/// calls this, is run again in a child process. There all invariants must hold, and `point` must pass.
pub(crate) fn tell(name: &str, point: impl FnOnce(&Told)) {
    if std::env::var_os(CHILD).is_some() {
        point(&play(plan(name)));
        return;
    }
    let test = std::thread::current().name().unwrap().to_owned();
    let mut program = Command::new(std::env::current_exe().unwrap());
    let ended = program.args(["--exact", &test, "--nocapture"]).env(CHILD, "1").output().unwrap();
    let output = [ended.stdout, ended.stderr].map(|output| String::from_utf8_lossy(&output).into_owned()).concat();
    assert!(ended.status.success() && output.contains("1 passed"), "{output}");
}

fn play(plan: Plan) -> Told {
    let mut entries = Vec::new();
    let simulate = |plan: &Plan, sink: &mut dyn FnMut(Entry) -> bool| {
        cluster::run(plan, murmuration_entropy::seed, sink).map_err(|error| error.to_string())
    };
    let summary = check(&plan, simulate, &mut |entry| entries.push(entry.clone()));
    let storm = |entry: &&Entry| entry.fact == Fact::Phase(Phase::Storm);
    let begin = entries.iter().find(storm).map(|entry| entry.at).unwrap_or_default();
    print!("{}", report::epilogue(&summary, &format!("chaos/plans/scenarios/{}.yaml", plan.name)));
    assert_eq!(summary.verdict.exit_code(), 0, "{}", summary.verdict.told());
    Told { entries, summary, begin }
}

/// The same cluster and requests without faults.
pub(crate) fn calm(name: &str) -> Told {
    play(Plan { faults: Vec::new(), ..plan(name) })
}

fn plan(name: &str) -> Plan {
    let path = format!("{}/../plans/scenarios/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    Plan::read(&std::fs::read_to_string(&path).unwrap(), name).unwrap()
}

/// A part of the storm, in seconds.
pub(crate) fn s(from: f64, to: f64) -> Range<Duration> {
    Duration::from_secs_f64(from)..Duration::from_secs_f64(to)
}

// === impl Told ===

impl Told {
    /// The entries in this part of the storm.
    pub(crate) fn within(&self, part: Range<Duration>) -> impl Iterator<Item = &Entry> {
        let (from, to) = (self.begin + part.start, self.begin + part.end);
        self.entries.iter().filter(move |entry| (from..to).contains(&entry.at))
    }

    /// The requests that began in this part of the storm and have ended.
    pub(crate) fn requests(&self, part: Range<Duration>) -> Vec<Request> {
        let asked = self.within(part).filter_map(|entry| match entry.fact {
            Fact::Asked { request, attempt: 0, .. } => Some((request, entry.at)),
            _ => None,
        });
        asked.filter_map(|(number, asked)| self.request(number, asked)).collect()
    }

    /// The cached share of prompt tokens of requests that began in this part of the storm.
    pub(crate) fn cached(&self, part: Range<Duration>) -> f64 {
        let requests = self.requests(part);
        let served = requests.iter().filter(|request| request.end == End::Served);
        let (prompt, cached) = served.fold((0, 0), |sum, request| (sum.0 + request.prompt.0, sum.1 + request.prompt.1));
        cached as f64 / (prompt as f64).max(1.0)
    }

    /// How many decisions the replicas that `which` selects made in this part of the storm.
    pub(crate) fn picks(&self, part: Range<Duration>, which: impl Fn(usize) -> bool) -> usize {
        let picks = self.within(part).filter(|entry| match (entry.by, &entry.fact) {
            (Source::Replica(replica, _), Fact::Emitted(murmuration::event::Event::Decided(_))) => which(replica),
            _ => false,
        });
        picks.count()
    }

    fn request(&self, number: u64, asked: Duration) -> Option<Request> {
        let mut found = Request {
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
                    (found.sent_by, found.to) = (Some(*replica), to.as_ref().map(ToString::to_string));
                }
                Fact::Refused { request, .. } if *request == number => found.refused = true,
                Fact::Done { request, end, prompt, .. } if *request == number => {
                    (found.end, found.prompt) = (*end, *prompt);
                    return Some(found);
                }
                _ => {}
            }
        }
        None
    }
}
