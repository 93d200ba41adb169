//! The queue of what streams send: requests for a decision, and what became of their tickets, in order.
//!
//! The actor's mailbox is first in, first out, so requests do not wait there: the actor looks into this queue before
//! each message, and between the slices of long work. Updates of tickets come by the same way, so that they keep their
//! share of the actor however many requests wait, and a request is decided with what was sent before it. The queue
//! outlives the actor, so requests that wait when one actor fails are decided by the next. Must not know how a decision
//! is made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration::id::Ticket;
use murmuration::request::InferenceRequest;
use murmuration::scheduler::News;
use murmuration::time::Timestamp;
use tokio::sync::oneshot;

use super::message::Answer;

/// The most requests that may wait; more are refused at once.
const WAITING_MAX: usize = 65_536;

/// Something that a stream sent.
#[derive(Debug)]
pub(super) enum FromStream {
    /// A request, the channel for its answer, and how long it was kept back.
    Ask(Box<InferenceRequest>, oneshot::Sender<Answer>, Duration),
    /// News of a ticket. A ticket has few: its endpoint (again only where it changes), its first token and its end.
    Update(Ticket, News),
}

/// The result of queueing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// The actor must be woken.
    Wake,
    /// The actor is woken already.
    Quiet,
    /// Too many requests wait.
    Full,
}

/// The queue. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct StreamQueue(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<FromStream>,
    /// Requests that are kept back until a time; numbers tell those of one time apart.
    kept_back: BTreeMap<(Timestamp, u64), FromStream>,
    kept_back_before: u64,
    /// How many requests are in both.
    asks: usize,
    /// Whether a message that wakes the actor is in its mailbox.
    woken: bool,
}

// === impl StreamQueue ===

impl StreamQueue {
    /// Puts something at the end.
    pub(super) fn push(&self, sent: FromStream) -> Queued {
        let mut queue = self.queue();
        if matches!(sent, FromStream::Ask(..)) {
            if queue.asks >= WAITING_MAX {
                return Queued::Full;
            }
            queue.asks += 1;
        }
        queue.waiting.push_back(sent);
        if std::mem::replace(&mut queue.woken, true) { Queued::Quiet } else { Queued::Wake }
    }

    /// Keeps a request back until `due`.
    pub(super) fn keep_back(&self, ask: FromStream, due: Timestamp) {
        let mut queue = self.queue();
        queue.asks += 1;
        queue.kept_back_before += 1;
        let number = queue.kept_back_before;
        queue.kept_back.insert((due, number), ask);
    }

    /// Puts the requests that are due at the beginning.
    pub(super) fn release(&self, now: Timestamp) {
        let mut queue = self.queue();
        if queue.kept_back.first_key_value().is_none_or(|((due, _), _)| *due > now) {
            return;
        }
        let later = queue.kept_back.split_off(&(now + Duration::from_micros(1), 0));
        let due = std::mem::replace(&mut queue.kept_back, later);
        due.into_values().rev().for_each(|ask| queue.waiting.push_front(ask));
    }

    /// What is first, without the requests whose callers are gone. `None` if there is nothing; the actor stays woken.
    pub(super) fn pop(&self) -> Option<FromStream> {
        self.queue().pop()
    }

    /// The same, for the actor that was woken: if there is nothing, what is pushed next must wake it again. So there is
    /// one message at a time that wakes it.
    pub(super) fn pop_or_rest(&self) -> Option<FromStream> {
        let mut queue = self.queue();
        let first = queue.pop();
        queue.woken = first.is_some();
        first
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic leaves the queue consistent: every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Queue ===

impl Queue {
    fn pop(&mut self) -> Option<FromStream> {
        loop {
            let first = self.waiting.pop_front()?;
            let FromStream::Ask(_, reply, _) = &first else { return Some(first) };
            self.asks -= 1;
            if !reply.is_closed() {
                return Some(first);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn asked(id: &str) -> (FromStream, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(InferenceRequest { id: id.to_owned(), ..InferenceRequest::default() });
        (FromStream::Ask(request, reply, Duration::ZERO), answer)
    }

    fn popped(queue: &StreamQueue) -> String {
        match queue.pop().unwrap() {
            FromStream::Ask(request, ..) => request.id,
            FromStream::Update(Ticket(number), _) => format!("update {number}"),
        }
    }

    #[test]
    fn the_actor_is_woken_once_until_it_found_the_queue_empty() {
        let queue = StreamQueue::default();
        let (first, _wait) = asked("a");
        let (second, _waits) = asked("b");
        assert_eq!((queue.push(first), queue.push(second)), (Queued::Wake, Queued::Quiet));
        assert_eq!(popped(&queue), "a");
        let (third, _waits_too) = asked("c");
        assert_eq!(queue.push(FromStream::Update(Ticket(7), News::FirstToken)), Queued::Quiet);
        assert_eq!(queue.push(third), Queued::Quiet);
        assert_eq!([popped(&queue), popped(&queue), popped(&queue)], ["b", "update 7", "c"]);
        assert!(queue.pop().is_none());
        assert_eq!(queue.push(asked("d").0), Queued::Quiet, "the message that woke it has not been handled");
        assert!(queue.pop().is_none(), "its caller is gone");
        assert!(queue.pop_or_rest().is_none());
        assert_eq!(queue.push(asked("e").0), Queued::Wake);
    }

    #[test]
    fn a_request_that_is_kept_back_comes_first_once_it_is_due() {
        let (queue, at) = (StreamQueue::default(), Timestamp::from_millis);
        let answers = ["late", "soon", "now"].map(|id| {
            let (ask, answer) = asked(id);
            queue.push(ask);
            answer
        });
        for due in [30, 20] {
            queue.keep_back(queue.pop().unwrap(), at(due));
        }
        queue.release(at(19));
        queue.release(at(20));
        assert_eq!([popped(&queue), popped(&queue)], ["soon", "now"]);
        assert!(queue.pop().is_none());
        drop(answers);
        queue.release(at(30));
        assert!(queue.pop().is_none(), "its caller is gone");
        (0..WAITING_MAX).for_each(|_| assert_ne!(queue.push(asked("many").0), Queued::Full));
    }

    #[test]
    fn a_request_without_a_caller_is_skipped_and_too_many_are_refused() {
        let queue = StreamQueue::default();
        queue.push(asked("gone").0);
        let (waiting, _answer) = asked("waits");
        queue.push(waiting);
        assert_eq!(popped(&queue), "waits");
        assert!(queue.pop().is_none());
        (0..WAITING_MAX).for_each(|_| assert_ne!(queue.push(asked("many").0), Queued::Full));
        assert_eq!(queue.push(asked("one more").0), Queued::Full);
        assert_ne!(queue.push(FromStream::Update(Ticket(1), News::FirstToken)), Queued::Full);
    }
}
