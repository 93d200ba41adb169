//! `trace-replay` as a command: flags in, a table or JSON out.
//!
//! Must not know how a run goes.

use std::process::ExitCode;

use clap::Parser;
use serde::Serialize;

use super::args::{Command, Compare, Figures, Flags, Replay};
use super::experiment::{self, Comparison};
use super::{compare, figures, plot, report};

/// The results, and the parameters of the run.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    comparison: Comparison,
    run: Run,
}

#[derive(Serialize)]
struct Run {
    replicas: usize,
    engines: usize,
    sharing: String,
    seed: u64,
    loss: f64,
    jitter: bool,
    speed: f64,
    load: f64,
    span_s: f64,
    prompt_tokens: f64,
    reusable: f64,
}

/// Runs the command of this process's arguments.
pub fn main() -> ExitCode {
    let flags = Flags::parse();
    match done(&flags) {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("trace-replay: {why}");
            ExitCode::FAILURE
        }
    }
}

fn done(flags: &Flags) -> Result<String, String> {
    match &flags.command {
        Some(Command::Figures(flags)) => show(flags, &figures::run(flags)?),
        Some(Command::Price(flags)) => show(flags, &figures::price(flags)?),
        Some(Command::Compare(flags)) => compared(flags),
        None => replay(&flags.replay),
    }
}

fn show(flags: &Figures, rows: &[figures::Row]) -> Result<String, String> {
    let json = serde_json::to_string(rows).map_err(|error| error.to_string())?;
    Ok(if flags.json { json } else { format!("{}\n{json}", figures::table(rows)) })
}

fn compared(flags: &Compare) -> Result<String, String> {
    let (plan, trace) = (flags.replay.plan()?, flags.replay.requests()?);
    let configurations = flags.configurations()?;
    let points = compare::run(&plan, &configurations, &flags.paces(), flags.seeds.max(1), flags.replay.jitter, &trace)?;
    if let Some(file) = &flags.svg {
        let traffic = match &flags.replay.trace {
            Some(trace) => trace.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            None => format!("{:?}", flags.replay.workload).to_lowercase(),
        };
        let title = format!("{traffic}, {} engines, over the load", plan.engines);
        std::fs::write(file, plot::svg(&title, &points))
            .map_err(|why| format!("can't write {}: {why}", file.display()))?;
    }
    let json = serde_json::to_string(&points).map_err(|error| error.to_string())?;
    Ok(if flags.replay.json { json } else { report::points(&points) })
}

fn replay(flags: &Replay) -> Result<String, String> {
    let (plan, trace) = (flags.plan()?, flags.requests()?);
    let pace = flags.pace(&plan, &trace);
    let comparison = experiment::compare(&plan, !flags.no_baselines, &trace, &pace.tempo)?;
    let run = Run {
        replicas: plan.replicas,
        engines: plan.engines,
        sharing: format!("{:?}", flags.sharing).to_lowercase(),
        seed: plan.seed,
        loss: plan.loss,
        jitter: flags.jitter,
        speed: pace.speed,
        load: pace.load,
        span_s: pace.demand.span_s / pace.speed,
        prompt_tokens: pace.demand.prompt_tokens,
        reusable: pace.demand.reusable(),
    };
    if flags.json {
        return serde_json::to_string(&Report { comparison, run }).map_err(|error| error.to_string());
    }
    let head = format!(
        "{} requests in {:.0} s ({:.2} times as fast as recorded), {} replicas, {} engines: load {:.2}, {:.1} % reusable\n",
        trace.len(),
        run.span_s,
        run.speed,
        run.replicas,
        run.engines,
        run.load,
        run.reusable * 100.0
    );
    Ok(format!("{head}\n{}", report::table(&comparison)))
}
