//! The program `town`: a whole tier, or one part of it; ends with 0 when done, 1 when it failed, 64 when asked wrongly.
//!
//! Must not know how a town is built.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::TownError;
use super::args::{Args, Command, Verb};
use super::progress::Progress;
use super::table::table;
use super::tier::{Town, WATCH_EVERY};
use crate::check;

/// `EX_USAGE`, as `murmuration` has it.
const USAGE: u8 = 64;

/// Why the program ends without having done what it should.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Ctrl-C and SIGTERM.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match Command::try_parse_from(arguments) {
        Ok(command) => command,
        Err(error) => {
            // Help and version are errors to clap; they print to standard output and are none to us.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match command.verb {
        Some(Verb::Engine(args)) => crate::engine::cli::run(*args),
        Some(Verb::Serve(rest)) => murmuration("serve", rest.arguments),
        Some(Verb::Explain(rest)) => murmuration("explain", rest.arguments),
        None => match &command.town.storm {
            Some(plan) => crate::storm::within(plan, &command.town.telling, &command.town),
            None => whole(&command.town),
        },
    }
}

/// The very program `murmuration`, so that a town needs no other binary.
pub(crate) fn murmuration(verb: &str, rest: Vec<OsString>) -> ExitCode {
    murmuration_actors::cli::run(["murmuration", verb].map(OsString::from).into_iter().chain(rest))
}

fn whole(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let lived = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(live(args)));
    match lived {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("town: {why}");
            let usage = why.downcast_ref::<TownError>().is_some_and(TownError::is_usage);
            if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Starts, stays and stops. Says whether all was well, which only `--check` can deny.
async fn live(args: &Args) -> Result<bool, Failure> {
    let mut ending = Ending::listen()?;
    let progress = Progress::start();
    let mut tell = |step: &str| progress.tell(step);
    let started = tokio::select! {
        biased;
        () = ending.comes() => None,
        started = Town::start(args, &mut tell) => Some(started),
    };
    progress.done().await;
    // What had been started when the start was broken off ends by itself: its input has ended.
    let Some(started) = started else { return Err("stopped before it had started".into()) };
    let mut town = started?;
    print!("{}", table(&town, &program()));
    let outcome =
        if args.check { judge(&mut town, args, &mut ending).await } else { stay(&mut town, args, &mut ending).await };
    eprintln!("town: stopping");
    for name in town.stop().await {
        eprintln!("town: {name} had to be killed");
    }
    let report = outcome?;
    if let Some((json, _)) = &report {
        println!("{json}");
    }
    Ok(report.is_none_or(|(_, passed)| passed))
}

/// A report as one line, and whether it is a good one.
type Verdict = Option<(String, bool)>;

async fn judge(town: &mut Town, args: &Args, ending: &mut Ending) -> Result<Verdict, Failure> {
    eprintln!("town: sending the workload of --check");
    let target = check::Target {
        public: town.public,
        direct: town.direct,
        model: town.model.clone(),
        engines: town.engines.len(),
        replicas: town.replicas.iter().map(|replica| replica.admin).collect(),
        replication: town.replication_for_check(),
    };
    let checking = async {
        match args.lasting {
            Some(most) => timeout(most, check::run(&target)).await.map_err(|_| "the check was not done within --for"),
            None => Ok(check::run(&target).await),
        }
    };
    let report = tokio::select! {
        biased;
        () = ending.comes() => return Err("stopped before the check was done".into()),
        error = watch(town) => return Err(error.into()),
        report = checking => report?,
    };
    Ok(Some((serde_json::to_string(&report)?, report.passed())))
}

async fn stay(town: &mut Town, args: &Args, ending: &mut Ending) -> Result<Verdict, Failure> {
    let lasting = args.lasting;
    eprintln!(
        "{}",
        lasting.map_or("Ctrl-C stops it.".to_owned(), |most| format!("It stops in {} s.", most.as_secs_f64()))
    );
    let over = async {
        match lasting {
            Some(most) => sleep(most).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = ending.comes() => Ok(None),
        () = over => Ok(None),
        error = watch(town) => Err(error.into()),
    }
}

/// Tells of parts that end without being told to. Resolves when Envoy does, for then the town is of no use.
async fn watch(town: &mut Town) -> TownError {
    loop {
        for (name, end) in town.newly_dead() {
            eprintln!("town: {name} ended ({end}); the others go on");
        }
        if let Some(error) = town.envoy_end() {
            return error;
        }
        sleep(WATCH_EVERY).await;
    }
}

/// How to call this program again, as short as it can be said.
fn program() -> String {
    let full = std::env::current_exe().unwrap_or_else(|_| "town".into());
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| full.strip_prefix(here).ok().map(ToOwned::to_owned));
    short.unwrap_or(full).display().to_string()
}

// === impl Ending ===

impl Ending {
    fn listen() -> Result<Self, Failure> {
        let hear = |kind| signal(kind).map_err(|why| format!("can't hear signals: {why}"));
        Ok(Self { interrupt: hear(SignalKind::interrupt())?, terminate: hear(SignalKind::terminate())? })
    }

    /// Resolves when the town is told to end. Nothing is lost when it is dropped before.
    async fn comes(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
