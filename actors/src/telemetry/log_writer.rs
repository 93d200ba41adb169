//! The log_writer that writes log lines: a thread of its own, so that a log nobody reads holds up no request.
//!
//! Must not know what a line says. Lines that come while too many wait are lost, and how many were is written down. Whatever
//! a client got into a line, it is one line, and steers no terminal that shows it.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written: a few megabytes, and far more than a healthy log has under way.
const WAITING_MAX: usize = 8_192;
/// How long the end of the program waits for the last lines.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the thread is told.
enum Order {
    Line(Vec<u8>),
    /// Everything before is written when this is answered.
    Flush(SyncSender<()>),
}

/// A log_writer; cheap to clone.
#[derive(Clone)]
pub(super) struct LogWriter {
    orders: SyncSender<Order>,
    lost: Arc<AtomicU64>,
}

/// Waits for the last lines when dropped, but not for ever.
#[must_use = "lines that were not written when the program ends are lost"]
pub struct LastLines {
    log_writer: LogWriter,
}

// === impl LogWriter ===

impl LogWriter {
    /// A log_writer that writes to `paper`; `told` makes the line that says how many lines were lost.
    pub(super) fn new(paper: impl Write + Send + 'static, told: fn(u64) -> String) -> io::Result<Self> {
        let (orders, coming) = sync_channel(WAITING_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = lost.clone();
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write(paper, &coming, &counted, told))?;
        Ok(Self { orders, lost })
    }

    /// Whoever holds this waits for the last lines.
    pub(super) fn last_lines(&self) -> LastLines {
        LastLines { log_writer: self.clone() }
    }
}

/// The thread: it ends when every log_writer is gone.
fn write(mut paper: impl Write, coming: &Receiver<Order>, lost: &AtomicU64, told: fn(u64) -> String) {
    while let Ok(order) = coming.recv() {
        // A log that can't be written has nowhere to say so.
        let _ = match order {
            Order::Line(line) => paper.write_all(&line),
            Order::Flush(answer) => {
                let flushed = paper.flush();
                let _ = answer.try_send(());
                flushed
            }
        };
        let count = lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            let _ = paper.write_all(told(count).as_bytes());
        }
    }
}

/// `line` as one line: what ends one, what steers a terminal and what turns its direction is written as `\u0000`, which is
/// right in JSON too. Escapes for colours are the log's own; those of others were made text where the line was made.
fn one_line(line: &[u8]) -> Vec<u8> {
    let (line, end) = match line {
        [line @ .., b'\n'] => (line, &b"\n"[..]),
        line => (line, &b""[..]),
    };
    let text = String::from_utf8_lossy(line);
    let steers = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        c.is_control() && c != '\u{1b}' || turns
    };
    if !text.contains(steers) {
        return [line, end].concat();
    }
    let mut written = String::with_capacity(text.len() + 64);
    for character in text.chars() {
        match steers(character) {
            // Writing to a string can't fail.
            true => drop(std::fmt::Write::write_fmt(&mut written, format_args!("\\u{:04x}", u32::from(character)))),
            false => written.push(character),
        }
    }
    [written.as_bytes(), end].concat()
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.orders.try_send(Order::Line(one_line(line))).is_err() {
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
        // A queue that is full is one that nobody reads: there is nothing to wait for.
        if self.log_writer.orders.try_send(Order::Flush(answer)).is_ok() {
            let _ = answered.recv_timeout(FAREWELL);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Paper that takes nothing until its listener is opened, and shows what it took.
    struct Paper {
        listener: Receiver<()>,
        open: bool,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.open {
                self.listener.recv().unwrap();
                self.open = true;
            }
            self.text.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whatever_a_client_got_into_a_line_it_is_one_line_that_steers_nothing() {
        let line = b"{\"model\":\"a\\u001b[2J\xc2\x9b31m\x7f\xe2\x80\xae\nWARN forged\r\"}\n";
        let written = String::from_utf8(one_line(line)).unwrap();
        assert_eq!(written, "{\"model\":\"a\\u001b[2J\\u009b31m\\u007f\\u202e\\u000aWARN forged\\u000d\"}\n");
        let read: serde_json::Value = serde_json::from_str(&written).unwrap();
        assert_eq!(read["model"], "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\nWARN forged\r");
        let coloured = "\u{1b}[32mINFO\u{1b}[0m a\u{f6}\n";
        assert_eq!(one_line(coloured.as_bytes()), coloured.as_bytes());
    }

    #[test]
    fn lines_wait_for_their_paper_and_those_too_many_are_counted() {
        let (open, listener) = sync_channel(1);
        let text = Arc::new(Mutex::new(Vec::new()));
        let mut log_writer =
            LogWriter::new(Paper { listener, open: false, text: text.clone() }, |lost| format!("lost {lost}\n"))
                .unwrap();
        // One line is in the thread's hand or still in the queue, so one more or less finds room.
        for _ in 0..WAITING_MAX + 100 {
            log_writer.write_all(b"line\n").unwrap();
        }
        open.send(()).unwrap();
        // The queue has to empty before a farewell finds room in it.
        while text.lock().unwrap().len() < 5 * WAITING_MAX {
            std::thread::yield_now();
        }
        log_writer.write_all(b"the last\n").unwrap();
        drop(log_writer.last_lines());
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        let lost: u64 = text.lines().find_map(|line| line.strip_prefix("lost ")).unwrap().parse().unwrap();
        let kept = text.lines().filter(|line| *line == "line").count() as u64;
        assert_eq!(kept + lost, WAITING_MAX as u64 + 100, "every line is written or counted");
        assert!(text.ends_with("the last\n"));
    }
}
