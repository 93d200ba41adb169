//! Shows how far the start has come: a spinner on a terminal, plain lines anywhere else.
//!
//! Must not know what the steps are. All output goes to standard error, so that standard output holds only results.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Interval between two frames of the spinner.
const FRAME: Duration = Duration::from_millis(100);
const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// Shows one step after the other.
#[derive(Debug)]
pub(super) struct Progress {
    steps: UnboundedSender<String>,
    writer: JoinHandle<()>,
}

// === impl Progress ===

impl Progress {
    /// Begins without a step.
    pub(super) fn start() -> Self {
        // A handful of lines: no bound is needed.
        let (steps, received) = unbounded_channel();
        let writer = if stderr().is_terminal() { tokio::spawn(spin(received)) } else { tokio::spawn(list(received)) };
        Self { steps, writer }
    }

    /// Shows the step that begins now; the previous one is done.
    pub(super) fn tell(&self, step: &str) {
        let _ = self.steps.send(step.to_owned());
    }

    /// Marks the last step as done; returns when all steps have been shown.
    pub(super) async fn done(self) {
        drop(self.steps);
        let _ = self.writer.await;
    }
}

async fn list(mut steps: UnboundedReceiver<String>) {
    while let Some(step) = steps.recv().await {
        eprintln!("testbed: {step}");
    }
}

async fn spin(mut steps: UnboundedReceiver<String>) {
    let mut current: Option<String> = None;
    let mut ticks = tokio::time::interval(FRAME);
    for frame in FRAMES.iter().cycle() {
        let received = tokio::select! {
            biased;
            step = steps.recv() => Some(step),
            _ = ticks.tick() => None,
        };
        if let Some(next) = received {
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

/// Overwrites the current line.
fn draw(sign: &str, step: &str, end: &str) {
    let mut out = stderr().lock();
    // An error means that the terminal is gone, which soon ends the testbed too.
    let _ = write!(out, "\r\x1b[2K{sign} {step}{end}").and_then(|()| out.flush());
}
