//! Writes log lines on its own thread, so an unread log delays no request.
//!
//! Must not know the content of a line. Lines that arrive while the queue is full are lost, and their number is logged.
//! Text from a client can neither break a line nor control the terminal that shows it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// The most lines that may wait: a few megabytes, and far more than a healthy log has waiting.
const WAITING_MAX: usize = 8_192;
/// How long the program waits for the last lines before it exits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A command for the thread.
enum Command {
    Line(Vec<u8>),
    /// Answered once everything before it is written.
    Flush(SyncSender<()>),
}

/// A handle on the writer thread; cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter {
    commands: SyncSender<Command>,
    lost: Arc<AtomicU64>,
}

/// Waits for the last lines when dropped, for a limited time.
#[must_use = "lines that were not written when the program ends are lost"]
pub struct LastLines {
    writer: LogWriter,
}

// === impl LogWriter ===

impl LogWriter {
    /// Starts a writer to `output`; `lost_line` formats the line that reports how many lines were lost.
    pub(super) fn new(output: impl Write + Send + 'static, lost_line: fn(u64) -> String) -> io::Result<Self> {
        let (commands, received) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(output, &received, &counted, lost_line))?;
        Ok(Self { commands, lost })
    }

    /// A guard that waits for the last lines when dropped.
    pub(super) fn last_lines(&self) -> LastLines {
        LastLines { writer: self.clone() }
    }
}

/// The thread; it ends when every [`LogWriter`] is dropped.
fn write(mut output: impl Write, received: &Receiver<Command>, lost: &AtomicU64, lost_line: fn(u64) -> String) {
    while let Ok(command) = received.recv() {
        // A failure to write the log can't be reported anywhere.
        let _ = match command {
            Command::Line(line) => output.write_all(&line),
            Command::Flush(answer) => {
                let flushed = output.flush();
                let _ = answer.try_send(());
                flushed
            }
        };
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = output.write_all(lost_line(count).as_bytes());
        }
    }
}

/// `line` as one line. Line breaks, control characters and characters that change text direction are written as
/// `\u0000`, which is valid in JSON too. ESC passes, because it belongs to the log's own colours: the formatter has
/// already escaped it in values.
fn one_line(line: &[u8]) -> Vec<u8> {
    let (line, end) = match line {
        [line @ .., b'\n'] => (line, &b"\n"[..]),
        line => (line, &b""[..]),
    };
    let text = String::from_utf8_lossy(line);
    let must_escape = |c: char| {
        let is_direction = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() && c != '\u{1b}' || is_direction
    };
    if !text.contains(must_escape) {
        return [line, end].concat();
    }
    let mut written = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        match must_escape(character) {
            // Writing to a string can't fail.
            true => drop(std::fmt::Write::write_fmt(&mut written, format_args!("\\u{:04x}", u32::from(character)))),
            false => written.push(character),
        }
    }
    [written.as_bytes(), end].concat()
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.commands.try_send(Command::Line(one_line(line))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LogWriter {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Drop for LastLines {
    fn drop(&mut self) {
        let (answer, answered) = sync_channel(1);
        // A full queue means that the log is not read: there is nothing to wait for.
        if self.writer.commands.try_send(Command::Flush(answer)).is_ok() {
            let _ = answered.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// An output that blocks until its gate opens, and records what was written.
    struct GatedOutput {
        gate: Receiver<()>,
        open: bool,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for GatedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.open {
                self.gate.recv().unwrap();
                self.open = true;
            }
            self.text.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn client_text_can_neither_break_a_line_nor_control_a_terminal() {
        let line = b"{\"model\":\"a\\u001b[2J\xc2\x9b31m\x7f\xe2\x80\xae\nWARN forged\r\"}\n";
        let written = String::from_utf8(one_line(line)).unwrap();
        assert_eq!(written, "{\"model\":\"a\\u001b[2J\\u009b31m\\u007f\\u202e\\u000aWARN forged\\u000d\"}\n");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["model"], "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\nWARN forged\r");
        let coloured = "\u{1b}[32mINFO\u{1b}[0m a\u{f6}\n";
        assert_eq!(one_line(coloured.as_bytes()), coloured.as_bytes());
    }

    #[test]
    fn lines_wait_for_the_output_and_excess_ones_are_counted() {
        let (open, gate) = sync_channel(1);
        let text = Arc::new(Mutex::new(Vec::new()));
        let output = GatedOutput { gate, open: false, text: text.clone() };
        let mut writer = LogWriter::new(output, |lost| format!("lost {lost}\n")).unwrap();
        // The thread may already hold one line, so one more or less fits in the queue.
        for _ in 0..WAITING_MAX + 100 {
            writer.write_all(b"line\n").unwrap();
        }
        open.send(()).unwrap();
        // The queue must drain before the flush fits in it.
        while text.lock().unwrap().len() < 5 * WAITING_MAX {
            std::thread::yield_now();
        }
        writer.write_all(b"the last\n").unwrap();
        drop(writer.last_lines());
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        let lost: u64 = text.lines().find_map(|line| line.strip_prefix("lost ")).unwrap().parse().unwrap();
        let kept = text.lines().filter(|line| *line == "line").count() as u64;
        assert_eq!(kept + lost, WAITING_MAX as u64 + 100, "every line is written or counted");
        assert!(text.ends_with("the last\n"));
    }
}
