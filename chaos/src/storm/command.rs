//! A storm from the command line: finds the plan, starts the town, does it, tells it.
//!
//! Must not know how any of these is done.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::{StormArgs, Telling};
use super::figures::Figures;
use super::obstacles::{Machine, Obstacle, needs_network, obstacles};
use super::plans::{find, shorter};
use super::verdict::judge;
use super::{page, run, table};
use crate::plan::{Plan, ResponsePath};
use crate::town::args::{Command, ResponsePath as Path_};
use crate::town::{Args, Town};

/// `EX_USAGE`, as `murmuration` has it.
const USAGE: u8 = 64;
/// The storm was not run, because a fault of the plan can't be injected here: what test runners take for "skipped".
pub(crate) const SKIPPED: u8 = 77;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the storm of these arguments in a town that is made for it: 0 if the plan's bars are met, 1 if not, 64 if asked wrongly,
/// 77 if it was not run because a fault of the plan can't be injected on this machine.
pub fn command(args: &StormArgs) -> ExitCode {
    let base = Command::try_parse_from(["town", "--port", "0"]).map(|command| command.town);
    match base {
        Ok(town) => within(&args.plan, &args.telling, &town),
        Err(why) => {
            eprintln!("storm: {why}");
            ExitCode::from(USAGE)
        }
    }
}

/// The same in a town with these arguments; who lives there is the plan's to say.
pub(crate) fn within(plan: &str, telling: &Telling, town: &Args) -> ExitCode {
    let plan = match find(plan) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("storm: {why}");
            return ExitCode::from(USAGE);
        }
    };
    let mut plan = if telling.short { shorter(plan) } else { plan };
    if let Some(answers) = telling.answers {
        plan.town.response_path = if answers == Path_::Leave { ResponsePath::Leave } else { ResponsePath::Stay };
    }
    let obstacles = obstacles(&plan, &Machine::look(&plan));
    if !obstacles.is_empty() {
        skip(&plan, telling, &obstacles);
        return ExitCode::from(SKIPPED);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(storm(&plan, telling, town)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("storm: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn storm(plan: &Plan, telling: &Telling, base: &Args) -> Result<bool, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let args = inhabitants(plan, base, plan.faults.iter().any(|strike| needs_network(&strike.fault)));
    let all = async {
        let mut town = Town::start(&args, &mut |step: &str| eprintln!("storm: {step}")).await?;
        eprintln!("storm: {} begins", plan.name);
        let observed = run::run(&mut town, plan).await;
        let folder = town.run.clone();
        for name in town.stop().await {
            eprintln!("storm: {name} had to be killed");
        }
        Ok::<_, Failure>((observed?, folder))
    };
    let (observed, folder) = tokio::select! {
        biased;
        _ = interrupt.recv() => return Err("stopped before the storm was over".into()),
        _ = terminate.recv() => return Err("stopped before the storm was over".into()),
        all = all => all?,
    };
    tell(plan, telling, &observed, &folder)
}

/// Says why the storm is not run. Nothing is started and nothing is judged.
fn skip(plan: &Plan, telling: &Telling, obstacles: &[Obstacle]) {
    if telling.json {
        println!("{}", json!({ "plan": plan, "met": null, "skipped": obstacles }));
    }
    for Obstacle { fault, why, cure } in obstacles {
        eprintln!("storm: {} is skipped, for `{fault}` can't be injected here: {why}; cure: {cure}", plan.name);
    }
}

fn tell(plan: &Plan, telling: &Telling, observed: &run::Observed, folder: &Path) -> Result<bool, Failure> {
    let figures = Figures::of(plan, observed);
    let judged = judge(&plan.bars, &figures);
    let html = telling.html.clone().unwrap_or_else(|| folder.join("storm.html"));
    std::fs::write(&html, page::page(plan, &figures, &judged, observed)?)
        .map_err(|why| format!("can't write {}: {why}", html.display()))?;
    let met = judged.iter().all(|one| one.met);
    if telling.json {
        let deeds: Vec<_> = observed
            .deeds
            .iter()
            .map(|deed| {
                json!({ "fault": deed.fault.to_string(), "began_s": deed.began.as_secs_f64(),
                    "ended_s": deed.ended.as_secs_f64(), "held": deed.held })
            })
            .collect();
        let report = json!({ "plan": plan, "met": met, "bars": judged, "figures": figures, "deeds": deeds,
            "failed_requests": failed_requests(observed), "notes": observed.notes, "html": html, "load_average": load_average() });
        println!("{report}");
        return Ok(met);
    }
    let mut text = table::table(&plan.name, &figures, &judged, observed);
    let _ = writeln!(text, "\n  report {}\n  load average {}", html.display(), load_average());
    print!("{text}");
    Ok(met)
}

/// When failed requests were due and ended, and why they failed; no more than a report can show.
fn failed_requests(observed: &run::Observed) -> Vec<serde_json::Value> {
    const SHOWN_MAX: usize = 100;
    let failed = observed.tally.samples.iter().filter_map(|sample| Some((sample, sample.outcome.as_ref().err()?)));
    let told = failed.map(|(sample, cause)| {
        let (due, ended) = (sample.due.as_secs_f64(), sample.ended.as_secs_f64());
        json!({ "due_s": due, "ended_s": ended, "cause": cause.to_string() })
    });
    told.take(SHOWN_MAX).collect()
}

/// How busy the machine was, for whoever compares latencies.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}

fn inhabitants(plan: &Plan, base: &Args, own_networks: bool) -> Args {
    let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    let sees = plan.town.response_path == ResponsePath::Stay;
    Args {
        engines: count(plan.town.engines),
        replicas: count(plan.town.replicas),
        port: base.port.or(Some(0)),
        response_path: if sees { Path_::Stay } else { Path_::Leave },
        sharing: match plan.town.peer_streams {
            true => crate::town::args::Sharing::Streams,
            false => crate::town::args::Sharing::Gossip,
        },
        own_networks,
        ..base.clone()
    }
}
