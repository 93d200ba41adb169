//! What replicas send each other, and when.
//!
//! Must not know requests or engines.

use murmuration::replication::codec;
use murmuration::scheduler::Input;
use murmuration::time::Timestamp;

use super::super::lanes::{COALESCE, FLUSH, Lane, Message, ROUND};
use super::{Event, Flushes, Simulation};

// === impl Simulation: lanes ===

impl Simulation<'_> {
    /// Plans a flush if there is something to send and none is planned.
    pub(super) fn plan_flush(&mut self, replica: usize, now: Timestamp) {
        let sent = self.lanes.sent(replica, (replica + 1) % self.replicas.len());
        if !self.plan.sharing().streams() || self.replicas.len() < 2 || self.replicas[replica].head() <= sent {
            return;
        }
        let Flushes { planned, last, next } = self.flushes[replica];
        let urgent = self.replicas[replica].urgent() > sent;
        let at = now.max(if urgent { next } else { last + COALESCE });
        if planned.is_none_or(|planned| at < planned) {
            self.flushes[replica].planned = Some(at);
            self.queue.plan(at, Event::Flush(replica));
        }
    }

    pub(super) fn flush(&mut self, from: usize, now: Timestamp) {
        if self.flushes[from].planned != Some(now) {
            return;
        }
        (self.flushes[from].planned, self.flushes[from].last) = (None, now);
        if self.replicas[from].urgent() > self.lanes.sent(from, (from + 1) % self.replicas.len()) {
            self.flushes[from].next = now + FLUSH;
        }
        let mut last = None;
        for to in (0..self.replicas.len()).filter(|&to| to != from) {
            let after = self.lanes.sent(from, to);
            // All peers have been sent the same, except one that just asked for a resend.
            if last.as_ref().is_none_or(|(known, _, _)| *known != after) {
                let Some(batch) = self.replicas[from].since(after, now) else { continue };
                let bytes = codec::encode(&batch).map_or(0, |bytes| bytes.len());
                last = Some((after, batch, bytes));
            }
            let Some((_, batch, bytes)) = &last else { continue };
            self.books.sent(Lane::Stream, 1, *bytes);
            if let Some(at) = self.lanes.stream(from, to, batch.upto, now) {
                let message = Message { lane: Lane::Stream, from, to, sent: now, batch: batch.clone() };
                self.queue.plan(at, Event::Arrived(message));
            }
        }
    }

    pub(super) fn round(&mut self, from: usize, now: Timestamp) {
        for page in self.replicas[from].write_pages(now) {
            let Ok(decoded) = codec::decode(&page.bytes) else { continue };
            let batch = std::sync::Arc::new(decoded.batch);
            self.books.sent(Lane::Gossip, self.replicas.len() as u64 - 1, page.bytes.len());
            for to in (0..self.replicas.len()).filter(|&to| to != from) {
                let at = self.lanes.gossip(from, to, now);
                let message = Message { lane: Lane::Gossip, from, to, sent: now, batch: batch.clone() };
                self.queue.plan(at, Event::Arrived(message));
            }
        }
        self.queue.plan(now + ROUND, Event::Round(from));
    }

    pub(super) fn receive(&mut self, message: &Message, now: Timestamp) {
        self.books.came(message, now);
        if message.lane == Lane::Stream
            && let Some((way, after)) = self.lanes.came(message, now)
        {
            self.queue.plan(now + way, Event::Resend { from: message.from, to: message.to, after });
        }
        self.handle(message.to, Input::Batch(Box::new((*message.batch).clone())), now);
    }
}
