//! One follower's stream: a greeting, then batches as long as there is news.
//!
//! Must not know who follows. It is pulled, not pushed: a batch is made when the transport has room for it, so a follower
//! that is slow costs its cursor and what is under way, and gets the newest words when it comes.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use murmuration::id::Incarnation;
use murmuration_proto::peer::FollowReply;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_stream::Stream;
use tonic::Status;

use super::server::Serving;
use super::subscriber_slots::SubscriberSlot;
use crate::replication::{Lane, Publisher, Receiver, Subscription};

/// Facts of one batch; with the longest load words fewer fit.
pub(super) const FACTS_MAX: usize = 1_024;
/// How long a stream lasts at most. A certificate that ran out meanwhile, or a name that left, ends with it.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// The stream.
pub(super) struct SubscriberStream {
    turn: Option<Turn>,
}

type Turn = Pin<Box<dyn Future<Output = Turned> + Send>>;
/// What was said, and who goes on; nobody after the last word.
type Turned = (Option<Result<FollowReply, Status>>, Option<Subscriber>);

struct Subscriber {
    publisher: Publisher,
    receiver: Receiver,
    _subscription: Subscription,
    /// Asked in each turn, so it is made once: its parts stay registered where they wait.
    ending: Pin<Box<dyn Future<Output = Ending> + Send>>,
    /// Up to where what was said may go out.
    released: watch::Receiver<u64>,
    cursor: u64,
    /// Told before the first batch.
    history: VecDeque<Bytes>,
}

enum Next {
    /// Up to this number.
    News(u64),
    End(Ending),
}

/// Why a stream ends.
enum Ending {
    Closing,
    Claimed,
    Reborn,
    Recheck,
}

/// What may end a stream.
struct Endings {
    slot: SubscriberSlot,
    closing: watch::Receiver<bool>,
    rotated: watch::Receiver<u64>,
    /// The incarnation that this stream tells, and the one that tells now.
    incarnation: Incarnation,
    begun: watch::Receiver<Incarnation>,
}

// === impl SubscriberStream ===

impl SubscriberStream {
    /// Tells `history`, and then what is said after the number `after`, as far as it is `released`.
    pub(super) fn new(
        serving: Serving,
        slot: SubscriberSlot,
        (closing, released): (watch::Receiver<bool>, watch::Receiver<u64>),
        after: u64,
        history: VecDeque<Bytes>,
    ) -> Self {
        let Serving { publisher, receiver, rotated, .. } = serving;
        let begun = publisher.begun();
        let incarnation = *begun.borrow();
        let said = *publisher.head().borrow();
        // A follower that heard more than was said heard another, and one that was away for long missed words that are
        // forgotten: from the beginning. A head below what it heard says so; every release understands that.
        let (cursor, head) = match publisher.continues(after) {
            true => (after, said),
            false if said < after => (0, said),
            false => (0, 0),
        };
        let subscription = publisher.subscribers().enters(slot.follower().clone());
        let ending = Box::pin(Endings { slot, closing, rotated: rotated.subscribe(), incarnation, begun }.first());
        let subscriber =
            Subscriber { publisher, receiver, _subscription: subscription, ending, released, cursor, history };
        let greeting = FollowReply { incarnation: incarnation.0, head, ..FollowReply::default() };
        Self { turn: Some(Box::pin(async { (Some(Ok(greeting)), Some(subscriber)) })) }
    }
}

impl Stream for SubscriberStream {
    type Item = Result<FollowReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(None) };
        let (said, subscriber) = ready!(turn.as_mut().poll(cx));
        self.turn = subscriber.map(|subscriber| Box::pin(subscriber.turn()) as Turn);
        Poll::Ready(said)
    }
}

// === impl Subscriber ===

impl Subscriber {
    async fn turn(mut self) -> Turned {
        if let Some(history) = self.history.pop_front() {
            self.receiver.count_sent(Lane::Stream, history.len());
            return (Some(Ok(FollowReply { history, ..FollowReply::default() })), Some(self));
        }
        loop {
            match self.next().await {
                Next::End(Ending::Claimed) => {
                    let newer = "the same follower opened a newer stream; two replicas must not have one name";
                    return (Some(Err(Status::aborted(newer))), None);
                }
                Next::End(Ending::Recheck) => {
                    let again = "certificates changed, or the stream is an hour old; call again to be checked anew";
                    return (Some(Err(Status::unavailable(again))), None);
                }
                Next::End(Ending::Reborn) => {
                    let newer = "this replica has begun its next incarnation; call again";
                    return (Some(Err(Status::unavailable(newer))), None);
                }
                // What was said last, such as work taken back, still goes out.
                Next::End(Ending::Closing) => return (self.batch(u64::MAX).map(Ok), None),
                Next::News(_) if !self.publisher.continues(self.cursor) => {
                    let late = "the follower is so late that words it missed are forgotten; it must hear all anew";
                    return (Some(Err(Status::aborted(late))), None);
                }
                Next::News(released) => {
                    if let Some(reply) = self.batch(released) {
                        return (Some(Ok(reply)), Some(self));
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        let Self { ending, released, cursor, .. } = self;
        let cursor = *cursor;
        tokio::select! {
            biased;
            ending = ending => Next::End(ending),
            news = released.wait_for(|released| *released > cursor) => {
                news.map_or(Next::End(Ending::Closing), |news| Next::News(*news))
            }
        }
    }

    /// The next batch, which goes up to `least` at least if it can; moves the cursor.
    fn batch(&mut self, least: u64) -> Option<FollowReply> {
        loop {
            let told = self.publisher.batch_after(self.cursor, least, FACTS_MAX)?;
            self.cursor = told.upto;
            // One fact that no batch can hold is told to nobody.
            let Some(batch) = told.bytes else { continue };
            self.receiver.count_sent(Lane::Stream, batch.len());
            return Some(FollowReply { batch, ..FollowReply::default() });
        }
    }
}

// === impl Endings ===

impl Endings {
    /// The first of them.
    async fn first(mut self) -> Ending {
        let Self { slot, closing, rotated, incarnation, begun } = &mut self;
        tokio::select! {
            biased;
            () = slot.claimed() => Ending::Claimed,
            // A server that was dropped closes too.
            _ = closing.wait_for(|closing| *closing) => Ending::Closing,
            changed = rotated.changed() => if changed.is_ok() { Ending::Recheck } else { Ending::Closing },
            () = sleep(AGE_MAX) => Ending::Recheck,
            _ = begun.wait_for(|begun| begun != incarnation) => Ending::Reborn,
        }
    }
}
