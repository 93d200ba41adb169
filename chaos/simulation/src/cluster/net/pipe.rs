//! Connections: bytes in order, both ways.
//!
//! Must not know which nodes use them. Lost packets are retransmitted, so here loss is delay. A cut link holds all
//! bytes sent over it. Dropping or shutting down one end closes it; the other end learns of it after the latency of the
//! link.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use murmuration::chance::Chance;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Link, Links, Net};

/// Bytes of one direction that are sent but not read; a writer waits at this limit.
const UNREAD_MAX: usize = 4 << 20;
/// The delay of the first retransmission of a lost packet; doubled each time.
const RETRANSMIT: Duration = Duration::from_millis(200);

/// All connections. The two directions of one differ in the last bit of their number.
#[derive(Default)]
pub(super) struct Pipes {
    pipes: BTreeMap<u64, Pipe>,
    in_transit: BTreeSet<u64>,
    next: u64,
}

/// One direction.
struct Pipe {
    from: usize,
    to: usize,
    in_transit: VecDeque<(Duration, Segment)>,
    ready: VecDeque<Bytes>,
    unread: usize,
    ended: bool,
    broken: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Segment {
    Bytes(Bytes),
    /// The writer has shut down.
    End,
    /// The writer's end is dropped: it neither writes nor reads any more.
    Gone,
}

/// One end of a connection: it reads from one pipe and writes to its sibling.
pub(super) struct Stream {
    net: Net,
    reads: u64,
    ended: bool,
}

// === impl Pipes ===

impl Pipes {
    /// Opens a connection. Returns the pipe that each end reads from, the caller's first.
    pub(super) fn connect(&mut self, caller: usize, called: usize) -> (u64, u64) {
        let to_called = self.next;
        self.next += 2;
        self.pipes.insert(to_called, Pipe::new(caller, called));
        self.pipes.insert(to_called ^ 1, Pipe::new(called, caller));
        (to_called ^ 1, to_called)
    }

    pub(super) fn deliver(&mut self, now: Duration, links: &Links, wakers: &mut Vec<Waker>) {
        let mut gone = Vec::new();
        let pipes = &mut self.pipes;
        self.in_transit.retain(|id| {
            let Some(pipe) = pipes.get_mut(id) else { return false };
            if links.get(pipe.from, pipe.to).cut {
                return true;
            }
            let departed = pipe.deliver(now, wakers);
            gone.extend(departed.then_some(*id));
            if pipe.in_transit.is_empty() && pipe.reader_gone {
                pipes.remove(id);
                return false;
            }
            pipes.get(id).is_some_and(|pipe| !pipe.in_transit.is_empty())
        });
        for id in gone {
            if let Some(sibling) = self.pipes.get_mut(&(id ^ 1)) {
                sibling.broken = true;
                wakers.extend(sibling.writer.take());
            }
        }
    }

    fn send(&mut self, id: u64, segment: Segment, now: Duration, links: &Links, chance: &mut Chance) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let due = now + delay(&links.get(pipe.from, pipe.to), chance);
        let after = pipe.in_transit.back().map_or(Duration::ZERO, |(due, _)| *due);
        pipe.in_transit.push_back((due.max(after), segment));
        self.in_transit.insert(id);
    }
}

/// The latency of a packet, including retransmissions. After 10 s of them it arrives in any case.
fn delay(link: &Link, chance: &mut Chance) -> Duration {
    let (mut waited, mut again) = (Duration::ZERO, RETRANSMIT);
    while link.loss > 0.0 && chance.unit() < link.loss && waited < Duration::from_secs(10) {
        waited += again;
        again *= 2;
    }
    waited + link.delay(chance)
}

// === impl Pipe ===

impl Pipe {
    fn new(from: usize, to: usize) -> Self {
        Self {
            from,
            to,
            in_transit: VecDeque::new(),
            ready: VecDeque::new(),
            unread: 0,
            ended: false,
            broken: false,
            reader_gone: false,
            reader: None,
            writer: None,
        }
    }

    /// Delivers what is due; `true` if the writer is gone.
    fn deliver(&mut self, now: Duration, wakers: &mut Vec<Waker>) -> bool {
        let mut gone = false;
        while let Some((_, segment)) = self.in_transit.pop_front_if(|(due, _)| *due <= now) {
            match segment {
                Segment::Bytes(bytes) if self.reader_gone => self.unread -= bytes.len(),
                Segment::Bytes(bytes) => self.ready.push_back(bytes),
                Segment::End => self.ended = true,
                Segment::Gone => (self.ended, gone) = (true, true),
            }
            wakers.extend(self.reader.take());
        }
        gone
    }
}

// === impl Stream ===

impl Stream {
    pub(super) fn new(net: Net, reads: u64) -> Self {
        Self { net, reads, ended: false }
    }

    fn send(&self, segment: Segment) {
        let mut state = self.net.state();
        let super::State { now, links, chance, pipes, .. } = &mut *state;
        pipes.send(self.reads ^ 1, segment, *now, links, chance);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.net.state();
        let Some(pipe) = state.pipes.pipes.get_mut(&self.reads) else { return Poll::Ready(Ok(())) };
        if pipe.ready.is_empty() && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while let Some(front) = pipe.ready.front_mut().filter(|_| buffer.remaining() > 0) {
            let length = front.len().min(buffer.remaining());
            buffer.put_slice(&front[..length]);
            front.advance(length);
            pipe.unread -= length;
            if front.is_empty() {
                pipe.ready.pop_front();
            }
        }
        let writer = pipe.writer.take_if(|_| pipe.unread < UNREAD_MAX);
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.net.state();
        let broken = || io::Error::new(io::ErrorKind::BrokenPipe, "the other end is gone");
        let id = self.reads ^ 1;
        let Some(pipe) = state.pipes.pipes.get_mut(&id).filter(|pipe| !pipe.broken && !self.ended) else {
            return Poll::Ready(Err(broken()));
        };
        if pipe.unread >= UNREAD_MAX {
            pipe.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        pipe.unread += bytes.len();
        drop(state);
        self.send(Segment::Bytes(Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.send(Segment::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.send(Segment::Gone);
        let mut state = self.net.state();
        let mut left = None;
        if let Some(pipe) = state.pipes.pipes.get_mut(&self.reads) {
            pipe.reader_gone = true;
            // Wake and drop these without the lock.
            left = Some((pipe.writer.take(), pipe.reader.take(), std::mem::take(&mut pipe.ready)));
            if pipe.in_transit.is_empty() && pipe.broken {
                state.pipes.pipes.remove(&self.reads);
            }
        }
        drop(state);
        drop(left);
    }
}
