//! The program `testbed`: a whole tier, or one part of it. Exits with 0 on success, 1 on failure, 64 on wrong usage.
//!
//! Must not know how a testbed is built.

use std::ffi::OsString;
use std::process::ExitCode;

use murmuration_kit::cli::{USAGE, parse};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::TestbedError;
use super::args::{Args, Command, Verb};
use super::table::table;
use super::tier::{Testbed, WATCH_EVERY};
use crate::check;

/// Why a check has no verdict.
const LATE: &str = "the check was not done within --for";

/// Why the program fails.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The signals that stop the program: Ctrl-C and SIGTERM.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

/// Runs the program with these arguments, the program's own name first.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let command = match parse::<Command>(arguments) {
        Ok(command) => command,
        Err(code) => return code,
    };
    match command.verb {
        Some(Verb::Engine(args)) => murmuration_engine_sim::cli::run(*args),
        Some(Verb::Serve(rest)) => murmuration("serve", rest.arguments),
        Some(Verb::Sidecar(rest)) => murmuration("sidecar", rest.arguments),
        Some(Verb::Explain(rest)) => murmuration("explain", rest.arguments),
        None => match &command.testbed.storm {
            Some(plan) => crate::storm::within(plan, &command.testbed.options, &command.testbed),
            None => whole(&command.testbed),
        },
    }
}

/// Runs the program `murmuration` in this one, so that a testbed needs no other binary.
pub(crate) fn murmuration(verb: &str, rest: Vec<OsString>) -> ExitCode {
    murmuration_actors::cli::run(["murmuration", verb].map(OsString::from).into_iter().chain(rest))
}

fn whole(args: &Args) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let succeeded = runtime.map_err(Failure::from).and_then(|runtime| runtime.block_on(run_testbed(args)));
    match succeeded {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("testbed: {why}");
            let usage = why.downcast_ref::<TestbedError>().is_some_and(TestbedError::is_usage);
            if usage { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}

/// Starts a testbed, keeps it running until its end, and stops it. Returns whether it succeeded; only `--check` can
/// return `false`.
async fn run_testbed(args: &Args) -> Result<bool, Failure> {
    let mut ending = Ending::listen()?;
    let mut tell = |step: &str| eprintln!("testbed: {step}");
    let started = tokio::select! {
        biased;
        () = ending.wait() => None,
        started = Testbed::start(args, &mut tell) => Some(started),
    };
    // Processes of an interrupted start end by themselves: their standard input is closed.
    let Some(started) = started else { return Err("stopped before it had started".into()) };
    let mut testbed = started?;
    print!("{}", table(&testbed, &program()));
    let outcome = if args.check && args.shape().is_some() {
        check_roles(&mut testbed, args, &mut ending).await
    } else if args.check {
        check_tier(&mut testbed, args, &mut ending).await
    } else {
        stay(&mut testbed, args, &mut ending).await
    };
    eprintln!("testbed: stopping");
    for name in testbed.stop().await {
        eprintln!("testbed: {name} had to be killed");
    }
    let report = outcome?;
    if let Some((json, _)) = &report {
        println!("{json}");
    }
    Ok(report.is_none_or(|(_, passed)| passed))
}

/// A report as one line, and whether the check passed.
type Verdict = Option<(String, bool)>;

async fn check_tier(testbed: &mut Testbed, args: &Args, ending: &mut Ending) -> Result<Verdict, Failure> {
    eprintln!("testbed: sending the workload of --check");
    let target = testbed.target();
    let checking = async {
        match args.lasting {
            Some(most) => timeout(most, check::run(&target)).await.map_err(|_| LATE),
            None => Ok(check::run(&target).await),
        }
    };
    let report = tokio::select! {
        biased;
        () = ending.wait() => return Err("stopped before the check was done".into()),
        error = watch(testbed) => return Err(error.into()),
        report = checking => report?,
    };
    Ok(Some((serde_json::to_string(&report)?, report.passed())))
}

/// As [`check_tier`] for engines with roles. The check kills engines, so nothing else watches them.
async fn check_roles(testbed: &mut Testbed, args: &Args, ending: &mut Ending) -> Result<Verdict, Failure> {
    eprintln!("testbed: sending the workload of --check to engines with roles, and killing some");
    let target = testbed.roles(args);
    let checking = async {
        match args.lasting {
            Some(most) => timeout(most, check::pd::run(&target, testbed)).await.map_err(|_| LATE),
            None => Ok(check::pd::run(&target, testbed).await),
        }
    };
    let report = tokio::select! {
        biased;
        () = ending.wait() => return Err("stopped before the check was done".into()),
        report = checking => report?,
    };
    Ok(Some((serde_json::to_string(&report)?, report.passed())))
}

async fn stay(testbed: &mut Testbed, args: &Args, ending: &mut Ending) -> Result<Verdict, Failure> {
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
        () = ending.wait() => Ok(None),
        () = over => Ok(None),
        error = watch(testbed) => Err(error.into()),
    }
}

/// Reports parts that end unexpectedly. Resolves when Envoy ends, because the testbed can't work without it.
async fn watch(testbed: &mut Testbed) -> TestbedError {
    loop {
        for (name, end) in testbed.newly_dead() {
            eprintln!("testbed: {name} ended ({end}); the others go on");
        }
        if let Some(error) = testbed.envoy_end() {
            return error;
        }
        sleep(WATCH_EVERY).await;
    }
}

/// The shortest path by which this program can be called again.
fn program() -> String {
    let full = std::env::current_exe().unwrap_or_else(|_| "testbed".into());
    let here = std::env::current_dir().ok();
    let short = here.and_then(|here| full.strip_prefix(here).ok().map(ToOwned::to_owned));
    short.unwrap_or(full).display().to_string()
}

// === impl Ending ===

impl Ending {
    fn listen() -> Result<Self, Failure> {
        let open = |kind| signal(kind).map_err(|why| format!("can't listen for signals: {why}"));
        Ok(Self { interrupt: open(SignalKind::interrupt())?, terminate: open(SignalKind::terminate())? })
    }

    /// Resolves when a signal arrives. Dropping the future earlier loses no signal.
    async fn wait(&mut self) {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
