//! Connections: bytes in order, both ways.
//!
//! Must not know who is at their ends. Lost packets are sent again, so loss is delay here; a way that is cut holds all that is sent over
//! it. Whoever goes, in order or not, closes its end, and the other one learns of it when the news arrives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use murmuration::chance::Chance;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Link, Links, Net};

/// Bytes of one direction that are sent and not read; a writer waits when there are more.
const UNREAD_MAX: usize = 4 << 20;
/// How long a lost packet takes to be sent again, the first time; doubled each time.
const SENT_AGAIN: Duration = Duration::from_millis(200);

/// All connections. The two directions of one differ in the last bit of their number.
#[derive(Default)]
pub(super) struct Pipes {
    pipes: BTreeMap<u64, Pipe>,
    flying: BTreeSet<u64>,
    next: u64,
}

/// One direction.
struct Pipe {
    from: usize,
    to: usize,
    flying: VecDeque<(Duration, Parcel)>,
    ready: VecDeque<Bytes>,
    unread: usize,
    ended: bool,
    broken: bool,
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

enum Parcel {
    Bytes(Bytes),
    /// Nothing more comes.
    End,
    /// Nothing more comes, and nothing is read any more.
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
    /// A connection between two: what either end reads from, the caller's first.
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
        self.flying.retain(|id| {
            let Some(pipe) = pipes.get_mut(id) else { return false };
            if links.get(pipe.from, pipe.to).cut {
                return true;
            }
            let departed = pipe.deliver(now, wakers);
            gone.extend(departed.then_some(*id));
            if pipe.flying.is_empty() && pipe.reader_gone {
                pipes.remove(id);
                return false;
            }
            pipes.get(id).is_some_and(|pipe| !pipe.flying.is_empty())
        });
        for id in gone {
            if let Some(sibling) = self.pipes.get_mut(&(id ^ 1)) {
                sibling.broken = true;
                wakers.extend(sibling.writer.take());
            }
        }
    }

    fn send(&mut self, id: u64, parcel: Parcel, now: Duration, links: &Links, chance: &mut Chance) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        let due = now + delay(&links.get(pipe.from, pipe.to), chance);
        let after = pipe.flying.back().map_or(Duration::ZERO, |(due, _)| *due);
        pipe.flying.push_back((due.max(after), parcel));
        self.flying.insert(id);
    }
}

/// How long a packet takes that is sent until it arrives.
fn delay(link: &Link, chance: &mut Chance) -> Duration {
    let (mut waited, mut again) = (Duration::ZERO, SENT_AGAIN);
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
            flying: VecDeque::new(),
            ready: VecDeque::new(),
            unread: 0,
            ended: false,
            broken: false,
            reader_gone: false,
            reader: None,
            writer: None,
        }
    }

    /// Takes in what is due; `true` when its writer is gone.
    fn deliver(&mut self, now: Duration, wakers: &mut Vec<Waker>) -> bool {
        let mut gone = false;
        while let Some((_, parcel)) = self.flying.pop_front_if(|(due, _)| *due <= now) {
            match parcel {
                Parcel::Bytes(bytes) if self.reader_gone => self.unread -= bytes.len(),
                Parcel::Bytes(bytes) => self.ready.push_back(bytes),
                Parcel::End => self.ended = true,
                Parcel::Gone => (self.ended, gone) = (true, true),
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

    fn send(&self, parcel: Parcel) {
        let mut state = self.net.state();
        let super::State { now, links, chance, pipes, .. } = &mut *state;
        pipes.send(self.reads ^ 1, parcel, *now, links, chance);
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
        self.send(Parcel::Bytes(Bytes::copy_from_slice(bytes)));
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.send(Parcel::End);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.send(Parcel::Gone);
        let mut state = self.net.state();
        let mut left = None;
        if let Some(pipe) = state.pipes.pipes.get_mut(&self.reads) {
            pipe.reader_gone = true;
            // Woken without the lock, and dropped without it.
            left = Some((pipe.writer.take(), pipe.reader.take(), std::mem::take(&mut pipe.ready)));
            if pipe.flying.is_empty() && pipe.broken {
                state.pipes.pipes.remove(&self.reads);
            }
        }
        drop(state);
        drop(left);
    }
}
