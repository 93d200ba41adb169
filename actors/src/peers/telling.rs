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
use murmuration::share::codec;
use murmuration_proto::peer::FollowReply;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tonic::Status;

use super::seats::Seat;
use super::server::Serving;
use crate::flock::{Ear, Lane, Listener, Voice};

/// Facts of one batch; with the longest load words fewer fit.
pub(super) const FACTS_MAX: usize = 1_024;
/// How long a stream lasts at most. A certificate that ran out meanwhile, or a name that left, ends with it.
const AGE_MAX: Duration = Duration::from_secs(3600);
/// The least time from one batch to the next: news after silence goes at once, a flood is told in few batches.
const PACE: Duration = Duration::from_millis(3);

/// The stream.
pub(super) struct Telling {
    turn: Option<Turn>,
}

type Turn = Pin<Box<dyn Future<Output = Turned> + Send>>;
/// What was said, and who goes on; nobody after the last word.
type Turned = (Option<Result<FollowReply, Status>>, Option<Teller>);

struct Teller {
    voice: Voice,
    ear: Ear,
    seat: Seat,
    _listener: Listener,
    closing: watch::Receiver<bool>,
    rotated: watch::Receiver<u64>,
    over: Pin<Box<Sleep>>,
    head: watch::Receiver<u64>,
    incarnation: Incarnation,
    cursor: u64,
    rest: Option<Pin<Box<Sleep>>>,
    /// Told before the first batch.
    history: VecDeque<Bytes>,
}

enum Next {
    News,
    Closing,
    Claimed,
    Reborn,
    Recheck,
}

// === impl Telling ===

impl Telling {
    /// Tells `history`, and then what is said after the number `after`.
    pub(super) fn new(
        serving: Serving,
        seat: Seat,
        closing: watch::Receiver<bool>,
        after: u64,
        history: VecDeque<Bytes>,
    ) -> Self {
        let Serving { voice, ear, rotated, .. } = serving;
        let (rotated, over) = (rotated.subscribe(), Box::pin(sleep(AGE_MAX)));
        let head = voice.head();
        let said = *head.borrow();
        // A follower that heard more than was said heard another: from the beginning.
        let cursor = if after > said { 0 } else { after };
        let listener = voice.audience().enters(seat.follower().clone());
        let incarnation = voice.incarnation();
        let rest = None;
        let teller = Teller {
            voice,
            ear,
            seat,
            _listener: listener,
            closing,
            rotated,
            over,
            head,
            incarnation,
            cursor,
            rest,
            history,
        };
        let greeting = FollowReply { incarnation: incarnation.0, head: said, ..FollowReply::default() };
        Self { turn: Some(Box::pin(async { (Some(Ok(greeting)), Some(teller)) })) }
    }
}

impl Stream for Telling {
    type Item = Result<FollowReply, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(turn) = &mut self.turn else { return Poll::Ready(None) };
        let (said, teller) = ready!(turn.as_mut().poll(cx));
        self.turn = teller.map(|teller| Box::pin(teller.turn()) as Turn);
        Poll::Ready(said)
    }
}

// === impl Teller ===

impl Teller {
    async fn turn(mut self) -> Turned {
        if let Some(history) = self.history.pop_front() {
            self.ear.said(Lane::Stream, history.len());
            return (Some(Ok(FollowReply { history, ..FollowReply::default() })), Some(self));
        }
        loop {
            match self.next().await {
                Next::Claimed => {
                    let newer = "the same follower opened a newer stream; two replicas must not have one name";
                    return (Some(Err(Status::aborted(newer))), None);
                }
                Next::Recheck => {
                    let again = "certificates changed, or the stream is an hour old; call again to be checked anew";
                    return (Some(Err(Status::unavailable(again))), None);
                }
                Next::Reborn => {
                    let newer = "this replica has begun its next incarnation; call again";
                    return (Some(Err(Status::unavailable(newer))), None);
                }
                // What was said last, such as work taken back, still goes out.
                Next::Closing => return (self.batch().map(Ok), None),
                Next::News => {
                    if let Some(reply) = self.batch() {
                        self.rest = Some(Box::pin(sleep(PACE)));
                        return (Some(Ok(reply)), Some(self));
                    }
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        let Self { voice, seat, closing, rotated, over, head, cursor, rest, incarnation, .. } = self;
        let cursor = *cursor;
        let begun = || voice.incarnation() != *incarnation;
        let news = async {
            if let Some(rest) = rest {
                rest.as_mut().await;
            }
            // The voice holds the sender, so it is there.
            drop(head.wait_for(|head| *head > cursor || begun()).await);
        };
        tokio::select! {
            biased;
            () = seat.claimed() => Next::Claimed,
            // A server that was dropped closes too.
            _ = closing.wait_for(|closing| *closing) => Next::Closing,
            changed = rotated.changed() => if changed.is_ok() { Next::Recheck } else { Next::Closing },
            () = over => Next::Recheck,
            () = news => if begun() { Next::Reborn } else { Next::News },
        }
    }

    /// The next batch; moves the cursor.
    fn batch(&mut self) -> Option<FollowReply> {
        let mut most = FACTS_MAX;
        loop {
            let batch = self.voice.since(self.cursor, most)?;
            match codec::encode(&batch) {
                Ok(bytes) => {
                    self.cursor = batch.upto;
                    self.ear.said(Lane::Stream, bytes.len());
                    return Some(FollowReply { batch: bytes.into(), ..FollowReply::default() });
                }
                Err(_) if most > 1 => most /= 2,
                // One fact that no batch can hold is told to nobody.
                Err(_) => self.cursor = batch.upto,
            }
        }
    }
}
