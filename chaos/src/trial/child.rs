//! Trials in processes of their own, so that one seed's entropy, panic or endless loop is no other's.
//!
//! Must not know what a trial is for.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::judge::{Figures, Summary, Verdict};
use crate::plan::Plan;

/// A trial that has not ended after this much real time is stopped; it counts as a crash.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a trial's process left behind.
pub type Outcome = Summary;

/// Starts trials.
#[derive(Debug)]
pub struct Trials {
    program: PathBuf,
    plans: AtomicU64,
}

// === impl Trials ===

impl Trials {
    /// Trials by this very program.
    ///
    /// # Errors
    /// A sentence when the program can't find itself.
    pub fn new() -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|why| format!("this program can't find itself: {why}"))?;
        Ok(Self { program, plans: AtomicU64::new(0) })
    }

    /// Runs the plan that `what` names, a seed or a file, and waits for its end.
    pub fn run(&self, what: &str) -> Outcome {
        self.command(what, &["--json"]).map_or_else(|why| crashed(what, why), |child| ended(child, what))
    }

    /// Runs a plan that is in no file.
    pub fn run_plan(&self, plan: &Plan) -> Outcome {
        let number = self.plans.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("chaos-{}-{number}.json", std::process::id()));
        let written = serde_json::to_vec(plan).map_err(std::io::Error::from);
        let written = written.and_then(|json| std::fs::File::create(&path)?.write_all(&json));
        let outcome = match written {
            Ok(()) => self.run(&path.display().to_string()),
            Err(why) => crashed(&plan.name, format!("can't write {}: {why}", path.display())),
        };
        // It is only of use to the child, which is gone.
        let _ = std::fs::remove_file(&path);
        outcome
    }

    /// Starts a run of `what` that writes to a pipe.
    ///
    /// # Errors
    /// A sentence when it can't be started.
    pub fn command(&self, what: &str, flags: &[&str]) -> Result<Child, String> {
        let mut command = Command::new(&self.program);
        command.arg("run").args(flags).arg(what).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().map_err(|why| format!("can't start {}: {why}", self.program.display()))
    }
}

/// Waits for the end. The child writes one line, which a pipe has room for.
fn ended(mut child: Child, what: &str) -> Outcome {
    let begun = tokio::time::Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK_EVERY),
            Ok(None) => {
                // Whether it could be killed or not, it is not waited for any longer than that.
                let _ = child.kill().and_then(|()| child.wait());
                return crashed(what, format!("it was not done after {} s", PATIENCE.as_secs()));
            }
            Err(why) => return crashed(what, why.to_string()),
        }
    };
    let mut told = String::new();
    let read = child.stdout.take().map(|mut from| from.read_to_string(&mut told));
    let last = told.lines().last().unwrap_or_default();
    match (read, serde_json::from_str(last)) {
        (Some(Ok(_)), Ok(summary)) => summary,
        _ => crashed(what, format!("its process ended without a word ({status})")),
    }
}

fn crashed(what: &str, why: String) -> Outcome {
    Summary { plan: what.to_owned(), verdict: Verdict::Crashed { why }, figures: Figures::default(), wall_s: 0.0 }
}
