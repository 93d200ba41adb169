//! Trials in processes of their own, so that the entropy, a panic or an endless loop of one seed does not affect
//! another.
//!
//! Must not know what a trial is for.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::checker::{Figures, Summary, Verdict};
use crate::plan::Plan;

/// A trial that takes longer than this in real time is killed, and counts as a crash.
const TIMEOUT: Duration = Duration::from_secs(180);
/// How often a running trial is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The result of a trial.
pub type Outcome = Summary;

/// Starts trials.
#[derive(Debug)]
pub struct Trials {
    program: PathBuf,
    plans: AtomicU64,
}

// === impl Trials ===

impl Trials {
    /// Trials that run this same program.
    ///
    /// # Errors
    /// A message if the path of this program is unknown.
    pub fn new() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|why| format!("can't find the path of this program: {why}"))?;
        Ok(Self { program, plans: AtomicU64::new(0) })
    }

    /// Runs the plan that `what` names, a seed or a file, and waits for the result.
    pub fn run(&self, what: &str) -> Outcome {
        self.command(what, &["--json"]).map_or_else(|why| crashed(what, why), |child| wait(child, what))
    }

    /// Runs a plan through a temporary file.
    pub fn run_plan(&self, plan: &Plan) -> Outcome {
        let number = self.plans.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chaos-{}-{number}.json", std::process::id()));
        let written = serde_json::to_vec(plan).map_err(std::io::Error::from);
        let written = written.and_then(|json| std::fs::File::create(&path)?.write_all(&json));
        let outcome = match written {
            Ok(()) => self.run(&path.display().to_string()),
            Err(why) => crashed(&plan.name, format!("can't write {}: {why}", path.display())),
        };
        // Only the child needed the file, and it has exited.
        let _ = std::fs::remove_file(&path);
        outcome
    }

    /// Starts a run of `what` whose output goes to a pipe.
    ///
    /// # Errors
    /// A message if it can't be started.
    pub fn command(&self, what: &str, flags: &[&str]) -> Result<Child, String> {
        let mut command = Command::new(&self.program);
        command.arg("run").args(flags).arg(what).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|why| format!("can't start {}: {why}", self.program.display()))
    }
}

/// Waits for the child. It writes one line, which fits into the buffer of the pipe.
fn wait(mut child: Child, what: &str) -> Outcome {
    let begun = tokio::time::Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < TIMEOUT => std::thread::sleep(POLL_INTERVAL),
            Ok(None) => {
                // If the kill fails, the child is not waited for any longer.
                let _ = child.kill().and_then(|()| child.wait());
                return crashed(what, format!("not finished after {} s", TIMEOUT.as_secs()));
            }
            Err(why) => return crashed(what, why.to_string()),
        }
    };
    let mut output = String::new();
    let read = child.stdout.take().map(|mut from| from.read_to_string(&mut output));
    let last = output.lines().last().unwrap_or_default();
    match (read, serde_json::from_str(last)) {
        (Some(Ok(_)), Ok(summary)) => summary,
        _ => crashed(what, format!("its process ended without a summary ({status})")),
    }
}

fn crashed(what: &str, why: String) -> Outcome {
    Summary { plan: what.to_owned(), verdict: Verdict::Crashed { why }, figures: Figures::default(), wall_s: 0.0 }
}
