//! What a replica costs: each bench prints a table for people, and one JSON object as its last line.
//!
//! Servers that are measured run as child processes of this very program (`bench serve`, `bench serve-noop`), so that
//! their processor time is apart from the client's, and a figure never depends on another binary being up to date.
//!
//! Must not know budgets: it measures and does not judge. An exchange that goes wrong is a failure, never a figure.

mod args;
mod body;
mod churn;
mod cpu;
mod decision;
mod detached;
mod envoy;
mod events;
mod ext_proc;
mod hostile;
mod pages;
mod replication;
mod scheduler_death;
mod scrape;
mod server;
mod spread;
mod subset;
mod table;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use crate::noop;
use args::{Command, Verb};

/// Why a bench has no figures: one sentence.
pub type Failure = String;

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // A whole replica: what stands after `serve` is the replica's own command line.
    if arguments.get(1).is_some_and(|verb| verb == "serve") {
        return murmuration_actors::cli::run(arguments);
    }
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(64) } else { ExitCode::SUCCESS };
        }
    };
    match bench(command.verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn bench(verb: Verb) -> Result<(), Failure> {
    let report = match verb {
        Verb::Decision(args) => decision::run(&args)?,
        Verb::Churn(args) => churn::run(&args)?,
        Verb::Detached(args) => detached::run(&args)?,
        Verb::Events(args) => events::run(&args)?,
        Verb::Subset(args) => subset::run(&args)?,
        Verb::Envoy(args) => waiting(envoy::run(&args))?,
        Verb::ExtProc(args) => waiting(ext_proc::run(&args))?,
        Verb::Scrape(args) => waiting(scrape::run(&args))?,
        Verb::Replication(args) => waiting(replication::run(&args))?,
        Verb::Hostile(args) => waiting(hostile::run(&args))?,
        Verb::SchedulerDeath(args) => waiting(scheduler_death::run(&args))?,
        Verb::ReplicationHost(args) => return waiting(replication::host(&args)),
        Verb::ServeNoop(args) => return waiting(noop::serve(args.port)),
    };
    print!("{report}");
    Ok(())
}

fn waiting<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|why| format!("no runtime: {why}"))?.block_on(work)
}
