//! Telling people how far the start has come: a spinner on a terminal, plain lines anywhere else.
//!
//! Must not know what is going on. All of it goes to standard error, so that standard output holds results alone.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// From one picture of the spinner to the next.
const FRAME: Duration = Duration::from_millis(100);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Tells one step after the other.
#[derive(Debug)]
pub(super) struct Progress {
    steps: UnboundedSender<String>,
    teller: JoinHandle<()>,
}

// === impl Progress ===

impl Progress {
    /// Begins with nothing to tell.
    pub(super) fn start() -> Self {
        // A handful of lines: no bound is needed.
        let (steps, heard) = unbounded_channel();
        let teller = if stderr().is_terminal() { tokio::spawn(spin(heard)) } else { tokio::spawn(list(heard)) };
        Self { steps, teller }
    }

    /// The step that is under way now; the one before is done.
    pub(super) fn tell(&self, step: &str) {
        let _ = self.steps.send(step.to_owned());
    }

    /// The last step is done; returns when all has been told.
    pub(super) async fn done(self) {
        drop(self.steps);
        let _ = self.teller.await;
    }
}

async fn list(mut steps: UnboundedReceiver<String>) {
    while let Some(step) = steps.recv().await {
        eprintln!("town: {step}");
    }
}

async fn spin(mut steps: UnboundedReceiver<String>) {
    let mut current: Option<String> = None;
    let mut ticks = tokio::time::interval(FRAME);
    for frame in FRAMES.iter().cycle() {
        let told = tokio::select! {
            biased;
            step = steps.recv() => Some(step),
            _ = ticks.tick() => None,
        };
        if let Some(next) = told {
            if let Some(done) = &current {
                draw("✓", done, "\n");
            }
            let Some(next) = next else { return };
            current = Some(next);
        }
        if let Some(step) = &current {
            draw(frame, step, "");
        }
    }
}

/// Draws over the line.
fn draw(sign: &str, step: &str, end: &str) {
    let mut out = stderr().lock();
    // A terminal that is gone takes the town with it soon enough.
    let _ = write!(out, "\r\x1b[2K{sign} {step}{end}").and_then(|()| out.flush());
}
