//! A child process of the town: born with a log, watched, and gone when the town is gone.
//!
//! Must not know what it does. Each child gets the reading end of a pipe as its standard input and ends when the pipe
//! does: so nothing is left behind even by `kill -9` of the town. A child is in a process group of its own, so that
//! Ctrl-C reaches the town alone, which then stops the others in order.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::TownError;

/// How long a child may take to end after its input ended.
const FAREWELL_MAX: Duration = Duration::from_secs(8);
/// Lines of a log that an error shows.
const LOG_LINES_SHOWN: usize = 12;
/// The most characters that are shown of each.
const LOG_LINE_SHOWN: usize = 300;

/// Runs a command that knows nothing of our pipe (Envoy) and ends it when the pipe ends: with SIGTERM, and after five
/// seconds with SIGKILL. `$@` is the command; its end, of its own accord, ends all.
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

/// A living child.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    log: PathBuf,
    child: Child,
    /// Its drop is the word to end.
    input: Option<ChildStdin>,
}

// === impl Process ===

impl Process {
    /// Starts `command`, which must end when its standard input does. Both its outputs go to the file `log`.
    ///
    /// # Errors
    /// [`TownError::Spawn`], and [`TownError::File`] for the log.
    pub(super) fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, TownError> {
        let file = open(log)?;
        let copy = file.try_clone().map_err(TownError::file(format!("write {}", log.display())))?;
        command.stdout(copy);
        Self::born(name, command, log, file)
    }

    /// Starts a command that does not watch its standard input, under a guard that does.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub(super) fn start_guarded(name: &str, program: &Path, arguments: &[&str], log: &Path) -> Result<Self, TownError> {
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, name]).arg(program).args(arguments);
        Self::start(name, command, log)
    }

    /// Starts `command` as [`Self::start`] does, and waits at most `patience` for its first line.
    ///
    /// # Errors
    /// As [`Self::start`]; [`TownError::Ended`] and [`TownError::Late`] when no line comes.
    pub(super) async fn start_and_hear(
        name: &str,
        mut command: Command,
        log: &Path,
        patience: Duration,
    ) -> Result<(Self, String), TownError> {
        let file = open(log)?;
        command.stdout(Stdio::piped());
        let mut process = Self::born(name, command, log, file)?;
        let Some(output) = process.child.stdout.take() else {
            return Err(process.ended("it has no output".to_owned()));
        };
        let mut lines = BufReader::new(output).lines();
        match timeout(patience, lines.next_line()).await {
            Ok(Ok(Some(line))) => {
                keep(lines, log.to_owned());
                Ok((process, line))
            }
            Ok(_) => {
                let status = timeout(FAREWELL_MAX, process.child.wait()).await;
                let status =
                    status.ok().and_then(Result::ok).map_or("no output".to_owned(), |status| status.to_string());
                Err(process.ended(status))
            }
            Err(_) => Err(process.late("said nothing", patience)),
        }
    }

    fn born(name: &str, mut command: Command, log: &Path, errors: File) -> Result<Self, TownError> {
        command.stdin(Stdio::piped()).stderr(errors).process_group(0);
        let mut child = command.spawn().map_err(|source| TownError::Spawn { name: name.to_owned(), source })?;
        let input = child.stdin.take();
        Ok(Self { name: name.to_owned(), log: log.to_owned(), child, input })
    }

    /// Its process id, while it lives.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn end(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// An error if it has ended, for those who wait for it.
    ///
    /// # Errors
    /// [`TownError::Ended`].
    pub(super) fn still_lives(&mut self) -> Result<(), TownError> {
        self.end().map_or(Ok(()), |status| Err(self.ended(status)))
    }

    /// The error of having waited too long for it.
    pub(super) fn late(&self, what: &str, patience: Duration) -> TownError {
        let cure = format!("see its log, {}", self.log.display());
        TownError::Late { what: format!("{} {what}", self.name), seconds: patience.as_secs(), cure }
    }

    /// SIGKILL, as the kernel sends it to a process that takes too much memory; returns when it is gone.
    pub(super) async fn kill(&mut self) {
        // An error says that it is gone already.
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }

    /// Tells it to end and lets go of it; see [`Self::gone`].
    pub(super) fn let_go(&mut self) {
        drop(self.input.take());
    }

    /// Waits until it is gone, and kills it if that takes too long. Returns whether it went by itself.
    pub(super) async fn gone(&mut self) -> bool {
        self.let_go();
        if timeout(FAREWELL_MAX, self.child.wait()).await.is_ok() {
            return true;
        }
        self.kill().await;
        false
    }

    fn ended(&self, status: String) -> TownError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last: Vec<String> = lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].iter().map(shortened).collect();
        TownError::Ended { name: self.name.clone(), status, log: self.log.clone(), last: last.join("\n") }
    }
}

/// A line of a log as it is shown: a replica tells its whole configuration in one.
fn shortened(line: &&str) -> String {
    match line.char_indices().nth(LOG_LINE_SHOWN) {
        Some((end, _)) => format!("  {} (and so on)", &line[..end]),
        None => format!("  {line}"),
    }
}

/// A log is added to: a process that is started again goes on where its first life ended.
fn open(log: &Path) -> Result<File, TownError> {
    let opened = File::options().create(true).append(true).open(log);
    opened.map_err(TownError::file(format!("write the log {}", log.display())))
}

/// Takes what a child says after its first line, so that it never waits for us.
fn keep(mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>, log: PathBuf) {
    tokio::spawn(async move {
        let Ok(mut file) = tokio::fs::OpenOptions::new().append(true).open(&log).await else { return };
        while let Ok(Some(line)) = lines.next_line().await {
            // A log that can't be written is no reason to stop listening.
            let _ = file.write_all(format!("{line}\n").as_bytes()).await;
        }
    });
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
