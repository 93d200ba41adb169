//! Follows the frames that a client sends on one HTTP/2 connection (RFC 9113), byte for byte.
//!
//! Must not know sockets. Frames are passed on in place. Only a HEADERS frame is held until it is complete, because a
//! repaired authority changes the length in its header.

use super::block;

/// The connection preface, which a client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes of a frame's header.
const HEAD: usize = 9;
/// The largest frame that a server accepts by default. The server behind this code refuses larger ones itself.
const FRAME_MAX: usize = 16_384;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// The position of the next byte in the stream of frames.
#[derive(Clone, Debug)]
pub struct Frames {
    state: State,
    /// HEADERS and DATA frames so far.
    requests: u64,
    repaired: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// This many bytes of the preface arrived.
    Preface(usize),
    /// The next byte is the first one of a frame.
    Between,
    /// This many bytes of a frame are still to be passed on.
    Passing(usize),
    /// The client does not speak HTTP/2. All bytes are passed on.
    Foreign,
}

/// The result of [`Frames::walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// This many bytes at the front can be passed on.
    pub passed: usize,
    /// The bytes from here on must be given again, followed by more.
    pub kept_from: usize,
}

// === impl Frames ===

impl Frames {
    /// The state before a connection's first byte.
    pub fn new() -> Self {
        Self { state: State::Preface(0), requests: 0, repaired: 0 }
    }

    /// Reads the next bytes and repairs them in place. The caller passes on the first `passed` bytes and keeps those
    /// from `kept_from` on.
    pub fn walk(&mut self, bytes: &mut [u8]) -> Walked {
        let (mut at, mut to) = (0, 0);
        while at < bytes.len() {
            let left = bytes.len() - at;
            let (taken, given) = match self.state {
                State::Foreign => (left, left),
                State::Preface(came) => {
                    let next = left.min(PREFACE.len() - came);
                    let same = bytes[at..at + next] == PREFACE[came..came + next];
                    self.state = match (same, came + next == PREFACE.len()) {
                        (false, _) => State::Foreign,
                        (true, true) => State::Between,
                        (true, false) => State::Preface(came + next),
                    };
                    (next, next)
                }
                State::Passing(rest) => {
                    let next = left.min(rest);
                    self.state = if next == rest { State::Between } else { State::Passing(rest - next) };
                    (next, next)
                }
                State::Between => {
                    let Some(length) = length(&bytes[at..]) else { break };
                    let kind = bytes[at + 3];
                    if kind == HEADERS && length <= FRAME_MAX {
                        let whole = HEAD + length;
                        if left < whole {
                            break;
                        }
                        self.requests += 1;
                        (whole, self.repair(&mut bytes[at..at + whole]))
                    } else {
                        self.requests += u64::from(kind == DATA || kind == HEADERS);
                        self.state = State::Passing(HEAD + length);
                        continue;
                    }
                }
            };
            if to != at {
                bytes.copy_within(at..at + given, to);
            }
            (at, to) = (at + taken, to + given);
        }
        Walked { passed: to, kept_from: at }
    }

    /// How many bytes [`Frames::walk`] needs, those in `kept` included, before it can make progress.
    pub fn wanted(kept: &[u8]) -> usize {
        HEAD + length(kept).unwrap_or(0)
    }

    /// Whether the client sent the HTTP/2 preface.
    pub fn began(&self) -> bool {
        matches!(self.state, State::Between | State::Passing(_))
    }

    /// HEADERS and DATA frames so far.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Repaired authorities so far.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// Repairs one complete HEADERS frame and returns its new length.
    fn repair(&mut self, frame: &mut [u8]) -> usize {
        let (flags, length) = (frame[4], frame.len() - HEAD);
        let mut from = HEAD;
        let mut padding = 0;
        if flags & PADDED != 0 && length > 0 {
            (from, padding) = (from + 1, usize::from(frame[HEAD]));
        }
        if flags & PRIORITY != 0 {
            from += 5;
        }
        let end = frame.len().saturating_sub(padding);
        if from >= end {
            return frame.len();
        }
        let Some(shorter) = block::repair(&mut frame[from..end]) else { return frame.len() };
        self.repaired += 1;
        frame.copy_within(end.., from + shorter);
        let whole = from + shorter + padding;
        let length = ((whole - HEAD) as u32).to_be_bytes();
        frame[..3].copy_from_slice(&length[1..]);
        whole
    }
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

/// The payload length of the frame that begins here; `None` until its header is complete.
fn length(frame: &[u8]) -> Option<usize> {
    let head = frame.get(..HEAD)?;
    Some(usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]))
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
