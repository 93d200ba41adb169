//! Benches of a replica and a tier. Each prints a table for people, and one JSON object as its last line.
//!
//! Measured servers are child processes of this program (`bench serve`, `bench serve-noop`, `bench serve-sidecar`). So
//! their processor time is separate from the client's, and no figure depends on another binary being up to date.
//! `report` is the exception: it runs `trace-replay` and `testbed` from the folder of this program, as they were built
//! last.
//!
//! Benches must not know budgets: they measure and do not judge; `report` does. A failed exchange is an error, never a
//! figure.

mod actor;
mod args;
mod body;
mod churn;
mod decision;
mod detached;
mod envoy;
mod events;
mod ext_proc;
mod hostile;
mod noop;
mod pages;
mod pool;
mod pools;
mod replication;
mod report;
mod scheduler_death;
mod scrape;
mod server;
mod sidecar;
mod spread;
mod subset;
mod table;
pub mod trace_replay;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Command, Verb};

/// Why a bench failed, as one sentence.
pub type Failure = String;

/// Runs the program with these arguments; the first one is the program's own name.
pub fn run(arguments: Vec<OsString>) -> ExitCode {
    // `serve` runs a whole replica; the arguments after it are the replica's own.
    if arguments.get(1).is_some_and(|verb| verb == "serve") {
        return murmuration_actors::cli::run(arguments);
    }
    // As `murmuration sidecar`; `bench sidecar` measures one.
    if arguments.get(1).is_some_and(|verb| verb == "serve-sidecar") {
        let mut arguments = arguments;
        arguments[1] = "sidecar".into();
        return murmuration_actors::cli::run(arguments);
    }
    let command = match murmuration_kit::cli::parse::<Command>(arguments) {
        Ok(command) => command,
        Err(code) => return code,
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
        Verb::Actor(args) => actor::run(&args)?,
        Verb::Churn(args) => churn::run(&args)?,
        Verb::Detached(args) => detached::run(&args)?,
        Verb::Events(args) => events::run(&args)?,
        Verb::Subset(args) => subset::run(&args)?,
        Verb::Envoy(args) => block_on(envoy::run(&args))?,
        Verb::ExtProc(args) => block_on(ext_proc::run(&args))?,
        Verb::Scrape(args) => block_on(scrape::run(&args))?,
        Verb::Replication(args) => block_on(replication::run(&args))?,
        Verb::Pools(args) => block_on(pools::run(&args))?,
        Verb::Hostile(args) => block_on(hostile::run(&args))?,
        Verb::SchedulerDeath(args) => block_on(scheduler_death::run(&args))?,
        Verb::Sidecar(args) => block_on(sidecar::run(&args))?,
        Verb::Report(args) => {
            print!("{}", report::run(&args)?);
            return Ok(());
        }
        Verb::ReplicationHost(args) => return block_on(replication::host(&args)),
        Verb::ServeNoop(args) => return block_on(noop::serve(args.port)),
    };
    print!("{report}");
    Ok(())
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|why| format!("no runtime: {why}"))?.block_on(work)
}
