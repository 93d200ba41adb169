//! A storm from the command line: finds the plan, starts the testbed, runs the storm, reports it.
//!
//! Must not know how any of these is done.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::args::StormOptions;
use super::figures::Figures;
use super::obstacles::{Machine, Obstacle, needs_network, obstacles};
use super::plans::{find, shorter};
use super::verdict::judge;
use super::{page, run, table};
use crate::local::{Args, Testbed};
use murmuration_kit::cli::USAGE;
use murmuration_kit::machine;
use murmuration_simulation::plan::Plan;

/// The storm was not run, because a fault of the plan can't be injected here. Test runners read this code as "skipped".
pub(crate) const SKIPPED: u8 = 77;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs `plan` on a testbed with the arguments `testbed`; the plan sets its replicas and engines. Exit code 0 if the
/// plan's bars are met, 1 if not, 64 on wrong usage, 77 if a fault of the plan can't be injected on this machine.
pub(crate) fn within(plan: &str, options: &StormOptions, testbed: &Args) -> ExitCode {
    let plan = match find(plan) {
        Ok(plan) => plan,
        Err(why) => {
            eprintln!("storm: {why}");
            return ExitCode::from(USAGE);
        }
    };
    let mut plan = if options.short { shorter(plan) } else { plan };
    plan.cluster.response_path = options.answers.unwrap_or(plan.cluster.response_path);
    plan.traffic.rate = options.rate.unwrap_or(plan.traffic.rate);
    if let Err(why) = plan.check() {
        eprintln!("storm: {why}");
        return ExitCode::from(USAGE);
    }
    let obstacles = obstacles(&plan, &Machine::look(&plan));
    if !obstacles.is_empty() {
        skip(&plan, options, &obstacles);
        return ExitCode::from(SKIPPED);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let done = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(storm(&plan, options, testbed)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("storm: {why}");
            ExitCode::FAILURE
        }
    }
}

async fn storm(plan: &Plan, options: &StormOptions, base: &Args) -> Result<bool, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let args = testbed_args(plan, base, plan.faults.iter().any(|strike| needs_network(&strike.fault)));
    let all = async {
        let mut testbed = Testbed::start(&args, &mut |step: &str| eprintln!("storm: {step}")).await?;
        eprintln!("storm: {} begins", plan.name);
        let observed = run::run(&mut testbed, plan).await;
        let folder = testbed.run.clone();
        for name in testbed.stop().await {
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
    report_storm(plan, options, &observed, &folder)
}

/// Reports why the storm is not run. Nothing is started and no bar is compared.
fn skip(plan: &Plan, options: &StormOptions, obstacles: &[Obstacle]) {
    if options.json {
        println!("{}", json!({ "plan": plan, "met": null, "skipped": obstacles }));
    }
    for Obstacle { fault, why, cure } in obstacles {
        eprintln!("storm: {} is skipped because `{fault}` can't be injected here: {why}; cure: {cure}", plan.name);
    }
}

fn report_storm(plan: &Plan, options: &StormOptions, observed: &run::Observed, folder: &Path) -> Result<bool, Failure> {
    let figures = Figures::of(plan, observed);
    let judged = judge(&plan.bars, &figures);
    let html = options.html.clone().unwrap_or_else(|| folder.join("storm.html"));
    std::fs::write(&html, page::page(plan, &figures, &judged, observed)?)
        .map_err(|why| format!("can't write {}: {why}", html.display()))?;
    let met = judged.iter().all(|one| one.met);
    if options.json {
        let injections: Vec<_> = observed
            .injections
            .iter()
            .map(|injection| {
                json!({ "fault": injection.fault.to_string(), "began_s": injection.began.as_secs_f64(),
                    "ended_s": injection.ended.as_secs_f64(), "held": injection.held })
            })
            .collect();
        let report = json!({ "plan": plan, "met": met, "bars": judged, "figures": figures, "injections": injections,
            "failed_requests": failed_requests(observed), "notes": observed.notes, "html": html, "load_average": load_average() });
        println!("{report}");
        return Ok(met);
    }
    let mut text = table::table(&plan.name, &figures, &judged, observed);
    let _ = writeln!(text, "\n  report {}\n  load average {}", html.display(), load_average());
    print!("{text}");
    Ok(met)
}

/// When failed requests were due and ended, and why they failed; 100 at most.
fn failed_requests(observed: &run::Observed) -> Vec<serde_json::Value> {
    const SHOWN_MAX: usize = 100;
    let failed = observed.tally.samples.iter().filter_map(|sample| Some((sample, sample.outcome.as_ref().err()?)));
    let listed = failed.map(|(sample, cause)| {
        let (due, ended) = (sample.due.as_secs_f64(), sample.ended.as_secs_f64());
        json!({ "due_s": due, "ended_s": ended, "cause": cause.to_string() })
    });
    listed.take(SHOWN_MAX).collect()
}

/// How busy the machine was, to compare latencies.
fn load_average() -> String {
    machine::load_average().map_or_else(|_| String::new(), |load| format!("{load:.2}"))
}

fn testbed_args(plan: &Plan, base: &Args, own_networks: bool) -> Args {
    let count = |number: usize| u16::try_from(number).unwrap_or(u16::MAX);
    Args {
        engines: count(plan.cluster.engines),
        replicas: count(plan.cluster.replicas),
        zones: count(plan.cluster.zones),
        port: base.port.or(Some(0)),
        response_path: plan.cluster.response_path,
        sharing: match plan.cluster.peer_streams {
            true => crate::local::args::Sharing::Streams,
            false => crate::local::args::Sharing::Gossip,
        },
        own_networks,
        ..base.clone()
    }
}
