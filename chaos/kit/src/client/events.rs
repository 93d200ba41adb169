//! Reads server-sent events from pieces of any size.
//!
//! Must not know what events mean. Shares no code with the reader of `murmuration::dialect`, whose results it checks.

use std::collections::VecDeque;

/// The longest event that is accepted, in bytes.
pub const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event is longer than [`EVENT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLong;

/// Reads a stream of events piece by piece.
#[derive(Debug, Default)]
pub struct EventReader {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Data lines of the event that has not ended yet; `None` before its first.
    data: Option<String>,
    /// Whole events that were not taken yet.
    events: VecDeque<String>,
}

// === impl EventReader ===

impl EventReader {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// [`EventTooLong`]; the reader can't be used afterwards.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), EventTooLong> {
        for part in piece.split_inclusive(|&byte| byte == b'\n') {
            if self.line.len() + self.data.as_ref().map_or(0, String::len) + part.len() > EVENT_BYTES_MAX {
                return Err(EventTooLong);
            }
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.line_ended();
            }
        }
        Ok(())
    }

    /// The data of the next whole event.
    pub fn next_event(&mut self) -> Option<String> {
        self.events.pop_front()
    }

    fn line_ended(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            self.events.extend(self.data.take());
        } else if let Some(value) = line.strip_prefix("data:") {
            let value = value.strip_prefix(' ').unwrap_or(value);
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            }
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let mut reader = EventReader::new();
        let mut events = Vec::new();
        for piece in pieces {
            reader.push(piece).expect("short events");
            events.extend(std::iter::from_fn(|| reader.next_event()));
        }
        events
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let stream =
            ": keep-alive\n\ndata: {\"é\":1}\r\n\r\nevent: x\ndata:two\ndata: lines\n\ndata: [DONE]\n\n".as_bytes();
        let whole = read(&[stream]);
        assert_eq!(whole, ["{\"é\":1}", "two\nlines", "[DONE]"]);
        for cut in 0..stream.len() {
            assert_eq!(read(&[&stream[..cut], &stream[cut..]]), whole, "cut at {cut}");
        }
    }

    #[test]
    fn an_event_is_one_only_after_its_blank_line() {
        let mut reader = EventReader::new();
        reader.push(b"data: half\n").expect("a short event");
        assert_eq!(reader.next_event(), None);
        reader.push(b"\n").expect("a short event");
        assert_eq!(reader.next_event().as_deref(), Some("half"));
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut reader = EventReader::new();
        let piece = vec![b'x'; 1 << 20];
        let pushed = (0..=8).map(|_| reader.push(&piece)).find(Result::is_err);
        assert_eq!(pushed, Some(Err(EventTooLong)));
    }
}
