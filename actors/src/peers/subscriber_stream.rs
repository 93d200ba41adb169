//! One follower's stream: a greeting, then batches as long as there are new facts.
//!
//! Must not know which replica follows. The transport pulls: a batch is made when there is room for it. So a slow
//! follower costs its cursor and the bytes in flight, and it gets the newest facts later.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
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

/// Facts of one batch. Fewer fit where load reports have the longest adapter lists.
pub(super) const FACTS_MAX: usize = 1_024;
/// The longest duration of a stream. An expired certificate, or a name that left, is in use no longer than this.
const AGE_MAX: Duration = Duration::from_secs(3600);

/// The stream.
pub(super) struct SubscriberStream {
    turn: Option<Turn>,
}

type Turn = Pin<Box<dyn Future<Output = Turned> + Send>>;
/// The reply, and the subscriber that continues; `None` after the last reply.
type Turned = (Option<Result<FollowReply, Status>>, Option<Subscriber>);

struct Subscriber {
    publisher: Publisher,
    receiver: Receiver,
    /// The follower's zone.
    zone: Arc<str>,
    _subscription: Subscription,
    /// Polled in each turn, so it is made once: its parts stay registered where they wait.
    ending: Pin<Box<dyn Future<Output = Ending> + Send>>,
    /// The number up to which facts may be sent.
    released: watch::Receiver<u64>,
    /// The wire version of its batches.
    version: u8,
    cursor: u64,
    /// Sent before the first batch.
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
    NextIncarnation,
    Recheck,
}

/// What may end a stream.
struct Endings {
    slot: SubscriberSlot,
    closing: watch::Receiver<bool>,
    /// What is relayed here is not any more.
    over: watch::Receiver<bool>,
    rotated: watch::Receiver<u64>,
    /// The incarnation that this stream serves, and the current one.
    incarnation: Incarnation,
    begun: watch::Receiver<Incarnation>,
}

// === impl SubscriberStream ===

impl SubscriberStream {
    /// Sends `history`, and then the facts after the number `after` in wire version `version`, as far as they are
    /// `released`, until `closing` or `over`.
    pub(super) fn new(
        (publisher, serving): (Publisher, &Serving),
        slot: SubscriberSlot,
        (closing, over, released): (watch::Receiver<bool>, watch::Receiver<bool>, watch::Receiver<u64>),
        (version, after): (u8, u64),
        history: VecDeque<Bytes>,
    ) -> Self {
        let (receiver, rotated) = (serving.receiver.clone(), &serving.rotated);
        let begun = publisher.incarnation_changes();
        let incarnation = *begun.borrow();
        let last = *publisher.head().borrow();
        // A cursor above our head belongs to another fact log, and a follower that was away too long missed facts that
        // are forgotten. Both start at 0. A head below the follower's cursor signals this in every release.
        let (cursor, head) = match publisher.continues(after) {
            true => (after, last),
            false if last < after => (0, last),
            false => (0, 0),
        };
        let zone = serving
            .members
            .borrow()
            .iter()
            .find(|member| member.replica == *slot.follower())
            .map(|member| member.card.zone.as_str().into());
        let zone = zone.unwrap_or_default();
        let subscription = publisher.subscribers().subscribe(slot.follower().clone());
        let ending =
            Box::pin(Endings { slot, closing, over, rotated: rotated.subscribe(), incarnation, begun }.first());
        let subscriber = Subscriber {
            publisher,
            receiver,
            zone,
            _subscription: subscription,
            ending,
            released,
            version,
            cursor,
            history,
        };
        let greeting = FollowReply { incarnation: incarnation.0, head, ..FollowReply::default() };
        Self { turn: Some(Box::pin(async { (Some(Ok(greeting)), Some(subscriber)) })) }
    }
}

impl Stream for SubscriberStream {
    type Item = Result<FollowReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(None) };
        let (reply, subscriber) = ready!(turn.as_mut().poll(cx));
        self.turn = subscriber.map(|subscriber| Box::pin(subscriber.turn()) as Turn);
        Poll::Ready(reply)
    }
}

// === impl Subscriber ===

impl Subscriber {
    async fn turn(mut self) -> Turned {
        if let Some(history) = self.history.pop_front() {
            self.receiver.count_sent(Lane::Stream, history.len(), &self.zone);
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
                Next::End(Ending::NextIncarnation) => {
                    let newer = "this replica has begun its next incarnation; call again";
                    return (Some(Err(Status::unavailable(newer))), None);
                }
                // The last facts, such as withdrawn work, are still sent.
                Next::End(Ending::Closing) => return (self.batch(u64::MAX).map(Ok), None),
                Next::News(_) if !self.publisher.continues(self.cursor) => {
                    let late = "the follower is so late that facts it missed are forgotten; it must start at 0";
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

    /// The next batch, which goes up to `least` at least if it can. Moves the cursor.
    fn batch(&mut self, least: u64) -> Option<FollowReply> {
        loop {
            let made = self.publisher.batch_after(self.version, self.cursor, least, FACTS_MAX)?;
            self.cursor = made.upto;
            // A single fact that fits no batch is skipped.
            let Some(batch) = made.bytes else { continue };
            self.receiver.count_sent(Lane::Stream, batch.len(), &self.zone);
            return Some(FollowReply { batch, ..FollowReply::default() });
        }
    }
}

// === impl Endings ===

impl Endings {
    /// Waits for the first cause.
    async fn first(mut self) -> Ending {
        let Self { slot, closing, over, rotated, incarnation, begun } = &mut self;
        tokio::select! {
            biased;
            () = slot.claimed() => Ending::Claimed,
            // A dropped server closes too.
            _ = closing.wait_for(|closing| *closing) => Ending::Closing,
            _ = over.wait_for(|over| *over) => Ending::Closing,
            changed = rotated.changed() => if changed.is_ok() { Ending::Recheck } else { Ending::Closing },
            () = sleep(AGE_MAX) => Ending::Recheck,
            _ = begun.wait_for(|begun| begun != incarnation) => Ending::NextIncarnation,
        }
    }
}
