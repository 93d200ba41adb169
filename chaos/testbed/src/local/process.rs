//! A child process of the testbed: started with a log, watched, and ended with the testbed.
//!
//! Must not know what it does. Each child's standard input is the reading end of a pipe, and it ends when the pipe is
//! closed. So nothing is left behind even after `kill -9` of the testbed. A child has its own process group, so that
//! Ctrl-C reaches only the testbed, which then stops the others in order.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::TestbedError;

/// How long a child may take to exit after its input was closed.
const EXIT_MAX: Duration = Duration::from_secs(8);
/// Lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 12;
/// The most characters that are shown of each.
const LOG_LINE_SHOWN: usize = 300;

/// Runs a command that ignores the pipe (Envoy) and ends it when the pipe is closed: with SIGTERM, and after five
/// seconds with SIGKILL. `$@` is the command; if it ends by itself, the guard ends too.
const GUARD: &str = r#"
exec 3<&0 </dev/null
"$@" 3<&- &
child=$!
{
  while read -r _ <&3; do :; done
  kill -TERM "$child" 2>/dev/null
  for _ in 1 2 3 4 5; do sleep 1; kill -0 "$child" 2>/dev/null || exit 0; done
  kill -KILL "$child" 2>/dev/null
} &
guard=$!
wait "$child"
code=$?
kill "$guard" 2>/dev/null
exit "$code"
"#;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    /// Dropping it tells the child to end.
    input: Option<ChildStdin>,
}

// === impl Process ===

impl Process {
    /// Starts `command`, which must end when its standard input does. Both its outputs go to the file `log`.
    ///
    /// # Errors
    /// [`TestbedError::Spawn`], and [`TestbedError::File`] for the log.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, TestbedError> {
        let file = open(log)?;
        let copy = file.try_clone().map_err(TestbedError::file(format!("write {}", log.display())))?;
        command.stdout(copy);
        Self::spawn(name, command, log, file)
    }

    /// Starts a command that does not watch its standard input, under a guard that does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_guarded(name: &str, program: &Path, arguments: &[&str], log: &Path) -> Result<Self, TestbedError> {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, name]).arg(program).args(arguments);
        Self::start(name, command, log)
    }

    /// Starts `command` as [`Self::start`] does, and waits at most `patience` for its first line.
    ///
    /// # Errors
    /// As [`Self::start`]; [`TestbedError::Ended`] and [`TestbedError::Late`] when no line comes.
    pub async fn start_and_read_line(
        name: &str,
        mut command: Command,
        log: &Path,
        patience: Duration,
    ) -> Result<(Self, String), TestbedError> {
        let file = open(log)?;
        command.stdout(Stdio::piped());
        let mut process = Self::spawn(name, command, log, file)?;
        let Some(output) = process.child.stdout.take() else {
            return Err(process.ended("it has no output".to_owned()));
        };
        let mut lines = BufReader::new(output).lines();
        match timeout(patience, lines.next_line()).await {
            Ok(Ok(Some(line))) => {
                log_rest(lines, log.to_owned());
                Ok((process, line))
            }
            Ok(_) => {
                let status = timeout(EXIT_MAX, process.child.wait()).await;
                let status =
                    status.ok().and_then(Result::ok).map_or("no output".to_owned(), |status| status.to_string());
                Err(process.ended(status))
            }
            Err(_) => Err(process.late("printed nothing", patience)),
        }
    }

    fn spawn(name: &str, mut command: Command, log: &Path, errors: File) -> Result<Self, TestbedError> {
        command.stdin(Stdio::piped()).stderr(errors).process_group(0);
        let mut child = command.spawn().map_err(|source| TestbedError::Spawn { name: name.to_owned(), source })?;
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child, input })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn end(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// Fails if it has ended; for callers that wait for it.
    ///
    /// # Errors
    /// [`TestbedError::Ended`].
    pub fn still_lives(&mut self) -> Result<(), TestbedError> {
        self.end().map_or(Ok(()), |status| Err(self.ended(status)))
    }

    /// The error of a wait that took too long.
    pub fn late(&self, what: &str, patience: Duration) -> TestbedError {
        let cure = format!("see its log, {}", self.log.display());
        TestbedError::Late { what: format!("{} {what}", self.name), seconds: patience.as_secs(), cure }
    }

    /// Sends SIGKILL, as the kernel does to a process that uses too much memory; returns when it is gone.
    pub async fn kill(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    /// Tells it to end, without waiting; see [`Self::gone`].
    pub fn close_input(&mut self) {
        drop(self.input.take());
    }

    /// Waits until it is gone, and kills it if that takes too long. Returns whether it ended by itself.
    pub async fn gone(&mut self) -> bool {
        self.close_input();
        if timeout(EXIT_MAX, self.child.wait()).await.is_ok() {
            return true;
        }
        self.kill().await;
        false
    }

    fn ended(&self, status: String) -> TestbedError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last: Vec<String> = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].iter().map(shortened).collect();
        TestbedError::Ended { name: self.name.clone(), status, log: self.log.clone(), last: last.join("\n") }
    }
}

/// A log line, shortened for an error message: a replica logs its whole configuration in one line.
fn shortened(line: &&str) -> String {
    match line.char_indices().nth(LOG_LINE_SHOWN) {
        Some((end, _)) => format!("  {} (and so on)", &line[..end]),
        None => format!("  {line}"),
    }
}

/// Opens a log for appending: a restarted process continues the log of its previous incarnation.
fn open(log: &Path) -> Result<File, TestbedError> {
    let opened = File::options().create(true).append(true).open(log);
    opened.map_err(TestbedError::file(format!("write the log {}", log.display())))
}

/// Logs what a child prints after its first line, so that it never blocks on a full pipe.
fn log_rest(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>, log: PathBuf) {
    tokio::spawn(async move {
        let Ok(mut file) = tokio::fs::OpenOptions::new().append(true).open(&log).await else { return };
        while let Ok(Some(line)) = lines.next_line().await {
            // A log that can't be written is no reason to stop reading.
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
        }
    });
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
