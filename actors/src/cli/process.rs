//! What every long-running subcommand does as a process: it serves until a signal, and reports panics.
//!
//! Must not know what is served.

use murmuration::event::Event;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::Failure;
use crate::supervise::Failed;
use crate::telemetry::Telemetry;

/// Panics that may wait to be reported.
const PANICS_QUEUED_MAX: usize = 64;

/// The signals that stop a process, from the moment at which they are listened for: one that comes earlier ends it.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

// === impl Signals ===

impl Signals {
    pub(super) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|why| Failure::new(1, format!("can't listen for signals: {why}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }
}

/// Serves until a signal stops it. The first SIGTERM or SIGINT starts the drain; the second one ends it at once.
pub(super) async fn run_until_stopped(
    signals: Signals,
    failed: impl Future<Output = Failed>,
    drain: impl Future<Output = ()>,
    exit_with_stdin: bool,
) -> Result<(), Failure> {
    let mut failed = std::pin::pin!(failed);
    let Signals { mut terminate, mut interrupt } = signals;
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ends(), if exit_with_stdin => return Ok(()),
        failed = &mut failed => return Err(Failure::new(1, failed)),
    }
    tracing::info!("draining");
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_ends(), if exit_with_stdin => {}
        failed = &mut failed => return Err(Failure::new(1, failed)),
        () = drain => tracing::info!("drained"),
    }
    Ok(())
}

/// Reports every panic of the process as an event, also in tasks that are never joined. The previous hook still runs.
pub(super) fn report_panics(telemetry: Telemetry) -> JoinSet<()> {
    let (sender, mut panics) = mpsc::channel(PANICS_QUEUED_MAX);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let why = panic.payload_as_str().unwrap_or("without a message").to_owned();
        // Another task records it: this one may hold a lock of telemetry. A full queue drops it; it is still printed.
        let _ = sender.try_send(Event::Panicked { place, why });
        before(panic);
    }));
    let mut reporter = JoinSet::new();
    reporter.spawn(async move {
        while let Some(event) = panics.recv().await {
            telemetry.record(&event);
        }
    });
    reporter
}

async fn stdin_ends() {
    let mut some = [0; 64];
    let mut stdin = tokio::io::stdin();
    while stdin.read(&mut some).await.is_ok_and(|read| read > 0) {}
}
