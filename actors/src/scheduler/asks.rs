//! The queue of requests that wait for a decision; they have priority over all other work of the scheduler.
//!
//! The actor's mailbox is first in, first out, so requests do not wait there: the actor checks this queue before each
//! message, and between the slices of long work. The queue outlives the actor, so requests that wait when one actor
//! fails are decided by the next. Must not know how a decision is made.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use murmuration::request::InferenceRequest;
use tokio::sync::oneshot;

use super::message::Answer;

/// The most requests that may wait; more are refused at once.
const WAITING_MAX: usize = 65_536;

/// A waiting request and the channel for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) request: Box<InferenceRequest>,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// The result of queueing a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// The actor must be woken.
    Wake,
    /// The actor is woken already.
    Quiet,
    /// The queue is full.
    Full,
}

/// The queue. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks(Arc<Mutex<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    woken: bool,
}

// === impl Asks ===

impl Asks {
    /// Puts a request at the end.
    pub(super) fn push(&self, waiting: Waiting) -> Queued {
        let mut queue = self.queue();
        if queue.waiting.len() >= WAITING_MAX {
            return Queued::Full;
        }
        queue.waiting.push_back(waiting);
        if std::mem::replace(&mut queue.woken, true) { Queued::Quiet } else { Queued::Wake }
    }

    /// The first request whose caller still waits.
    pub(super) fn pop(&self) -> Option<Waiting> {
        let mut queue = self.queue();
        while let Some(first) = queue.waiting.pop_front() {
            if !first.reply.is_closed() {
                return Some(first);
            }
        }
        queue.woken = false;
        None
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic leaves the queue consistent: every change is complete before anything can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn asked(id: &str) -> (Waiting, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let request = Box::new(InferenceRequest { id: id.to_owned(), ..InferenceRequest::default() });
        (Waiting { request, reply }, answer)
    }

    #[test]
    fn the_actor_is_woken_once_until_it_found_the_queue_empty() {
        let asks = Asks::default();
        let (first, _wait) = asked("a");
        let (second, _waits) = asked("b");
        assert_eq!((asks.push(first), asks.push(second)), (Queued::Wake, Queued::Quiet));
        assert_eq!(asks.pop().unwrap().request.id, "a");
        let (third, _waits_too) = asked("c");
        assert_eq!(asks.push(third), Queued::Quiet);
        assert_eq!((asks.pop().unwrap().request.id.as_str(), asks.pop().unwrap().request.id.as_str()), ("b", "c"));
        assert!(asks.pop().is_none());
        assert_eq!(asks.push(asked("d").0), Queued::Wake);
    }

    #[test]
    fn a_request_without_a_caller_is_skipped_and_too_many_are_refused() {
        let asks = Asks::default();
        asks.push(asked("gone").0);
        let (waiting, _answer) = asked("waits");
        asks.push(waiting);
        assert_eq!(asks.pop().unwrap().request.id, "waits");
        assert!(asks.pop().is_none());
        (0..WAITING_MAX).for_each(|_| assert_ne!(asks.push(asked("many").0), Queued::Full));
        assert_eq!(asks.push(asked("one more").0), Queued::Full);
    }
}
