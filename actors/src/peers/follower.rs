//! The follower of one peer: calls it, hears it, and calls again from where it was.
//!
//! Must not know what a batch says. Whatever a peer sends costs at most a few batches before it is left alone for a
//! while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::{Member, codec};
use murmuration_proto::peer::{FollowReply, FollowRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tonic::Streaming;

use super::backoff;
use super::call::{self, Failure};
use super::cursor::Cursor;
use super::follow::Listening;
use super::joining::Joining;
use super::states::States;
use super::tls::PeerTls;
use crate::environment::Network;
use crate::replication::{Lane, Receiver};
use crate::stall_detector::StallDetector;

/// Refused batches in a row after which a peer is left alone.
const STRIKES_MAX: u32 = 3;
/// For how long; so is one that speaks another version.
const LEFT_ALONE: Duration = Duration::from_secs(10);
/// How long a stream may stand still while the members knows of more. On a crowded machine gossip may be half a second ahead, and
/// a new call with its handshake would crowd it more.
const GAP_PATIENCE: Duration = Duration::from_secs(1);
/// A stream that held for so long was a good one: the next pause is short again.
const SETTLED: Duration = Duration::from_secs(2);
/// How often a follower that hears nothing looks whether this replica stood still.
const BEAT: Duration = Duration::from_millis(200);

/// The follower.
pub(super) struct Follower {
    me: ReplicaId,
    peer: ReplicaId,
    network: Arc<dyn Network>,
    tls: PeerTls,
    receiver: Receiver,
    rehear: watch::Receiver<u64>,
    rotated: watch::Receiver<u64>,
    member: watch::Receiver<Member>,
    states: States,
    joins: Arc<Joining>,
    /// Whether this peer was away in the life that it has: it is asked for history.
    apart: bool,
    cursor: Cursor,
    /// The life and the address that were called last.
    called: (Incarnation, Option<SocketAddr>),
    /// Calls in a row that did not hold.
    failures: u32,
    /// Batches in a row that were refused.
    strikes: u32,
}

/// Why a call is over.
enum Ended {
    /// Another life, address or beginning: call at once.
    Anew,
    /// Something is missing: call from the cursor.
    Gap,
    /// The call failed.
    Failed(String),
    /// The peer is not to be listened to for a while.
    LeaveAlone(String),
    /// Nobody wants this peer followed any more.
    Over,
}

/// What became of a reply.
enum Taken {
    /// The cursor moved.
    Heard,
    /// Nothing came, or nothing that can be used.
    Nothing,
    /// The call is over.
    Ends(Ended),
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(
        listening: &Listening,
        member: watch::Receiver<Member>,
        cursor: Cursor,
        states: States,
        apart: bool,
    ) -> Self {
        let Listening { me, network, tls, receiver, rehear, rotated, joins, .. } = listening.clone();
        let (peer, called) = (member.borrow().replica.clone(), place(&member.borrow()));
        let (failures, strikes) = (0, 0);
        Self {
            me,
            peer,
            network,
            tls,
            receiver,
            rehear,
            rotated,
            member,
            states,
            joins,
            apart,
            cursor,
            called,
            failures,
            strikes,
        }
    }

    /// Follows until the members drops the peer.
    pub(super) async fn run(mut self) {
        loop {
            let (pause, why) = match self.call().await {
                Ended::Over => return,
                Ended::Anew => (Duration::ZERO, "to be heard anew".to_owned()),
                Ended::Gap => {
                    self.receiver.emit(&Event::GapRepaired { peer: self.peer.clone() });
                    (self.failed(), "it stood still, or something was missing".to_owned())
                }
                Ended::Failed(why) => (self.failed(), why),
                Ended::LeaveAlone(why) => (LEFT_ALONE, why),
            };
            self.states.down(&self.peer, why);
            if !pause.is_zero() && !self.rest(pause).await {
                return;
            }
        }
    }

    /// Waits, less long when the peer is born again; `false` when nobody wants it followed.
    async fn rest(&mut self, pause: Duration) -> bool {
        let called = self.called;
        let wanted = async { self.member.wait_for(|member| place(member) != called).await.is_ok() };
        tokio::select! {
            biased;
            wanted = wanted => wanted,
            () = sleep(pause) => true,
        }
    }

    /// One call, from connecting to its end.
    async fn call(&mut self) -> Ended {
        let member = self.member.borrow_and_update().clone();
        self.called = place(&member);
        self.cursor.announced(member.incarnation);
        // An error says that nobody will ask for it any more.
        if self.rehear.has_changed().unwrap_or(false) {
            self.rehear.mark_unchanged();
            self.cursor.upto = 0;
        }
        let Some(address) = member.card.peer else { return Ended::Failed("it serves no streams".into()) };
        let (joins, apart) = (self.joins.asks(member.incarnation), std::mem::take(&mut self.apart));
        let request = FollowRequest {
            replica: self.me.0.clone(),
            wire_version_min: codec::VERSION_MIN.into(),
            wire_version_max: self.receiver.version().into(),
            incarnation: self.cursor.incarnation.0,
            after: self.cursor.upto,
            history: joins.is_some() || apart,
        };
        let (greeting, stream) = match call::open((&self.peer, address), self.network.clone(), &self.tls, request).await
        {
            Ok(opened) => opened,
            Err(failure) => {
                joins.iter().for_each(|asking| self.joins.was_unheard(asking));
                self.apart = apart;
                return self.judge(failure);
            }
        };
        if !self.cursor.greeted(Incarnation(greeting.incarnation), greeting.head) {
            self.receiver.ignore(&self.peer, "past-life");
            return Ended::Failed("an older life of it answers".into());
        }
        self.states.up(&self.peer, &self.cursor, self.cursor.upto >= greeting.head);
        self.hear_out(stream, greeting.head).await
    }

    /// Hears the stream to its end. `head` is what the peer had said when it greeted.
    async fn hear_out(&mut self, mut stream: Streaming<FollowReply>, head: u64) -> Ended {
        let (life, address) = self.called;
        let settled = sleep(SETTLED);
        let still = sleep(GAP_PATIENCE);
        tokio::pin!(settled, still);
        // A receiver for the loop, so that the borrow of self is free for what is heard.
        let (mut members, mut rehear) = (self.member.clone(), self.rehear.clone());
        let mut rotated = self.rotated.clone();
        rotated.mark_unchanged();
        let (mut behind, mut torn) = (self.is_behind(), false);
        let mut stall_detector = StallDetector::each(BEAT);
        loop {
            tokio::select! {
                biased;
                // The next call sees it too, and begins at 0.
                () = changed(&mut rehear) => return Ended::Anew,
                // Whether the peer is still believed is seen by shaking hands again.
                () = changed(&mut rotated) => return Ended::Anew,
                changed = members.changed() => {
                    if changed.is_err() {
                        return Ended::Over;
                    }
                    let member = members.borrow_and_update().clone();
                    let reborn = member.incarnation != life && member.incarnation != self.cursor.incarnation;
                    if reborn || member.card.peer != address {
                        return Ended::Anew;
                    }
                    if !std::mem::replace(&mut behind, self.is_behind()) {
                        still.as_mut().reset(Instant::now() + GAP_PATIENCE);
                    }
                }
                () = &mut settled, if self.failures > 0 => self.failures = 0,
                () = &mut still, if behind => return Ended::Gap,
                stood = stall_detector.beat() => {
                    if stood {
                        return Ended::Anew;
                    }
                }
                reply = stream.message() => {
                    if stall_detector.missed() {
                        return Ended::Anew;
                    }
                    match self.take(reply, &mut torn).await {
                        Taken::Ends(ended) => return ended,
                        Taken::Nothing => {}
                        Taken::Heard => {
                            self.states.heard(&self.peer, self.cursor.upto, self.cursor.upto >= head);
                            behind = self.is_behind();
                            still.as_mut().reset(Instant::now() + GAP_PATIENCE);
                        }
                    }
                    stall_detector.rest();
                }
            }
        }
    }

    /// Gives a reply to the receiver, and waits until it was taken in: that slows the peer down.
    async fn take(&mut self, reply: Result<Option<FollowReply>, tonic::Status>, torn: &mut bool) -> Taken {
        let batch = match reply {
            Ok(Some(reply)) if !reply.history.is_empty() => {
                return match self.receiver.receive(Lane::Stream, &self.peer, &reply.history).await {
                    Some(_) => Taken::Nothing,
                    None => self.strike("history that can't be read"),
                };
            }
            Ok(Some(reply)) if reply.batch.is_empty() => return Taken::Nothing,
            Ok(Some(reply)) => reply.batch,
            Ok(None) => return Taken::Ends(Ended::Failed("it ended the stream".into())),
            Err(status) => return Taken::Ends(self.judge(Failure::of(&status))),
        };
        match self.receiver.receive(Lane::Stream, &self.peer, &batch).await {
            // A batch before this one was refused, so the cursor must not pass it.
            Some(_) if *torn => Taken::Ends(Ended::Gap),
            Some(upto) if upto > self.cursor.upto => {
                (self.cursor.upto, self.strikes) = (upto, 0);
                Taken::Heard
            }
            Some(_) => {
                self.receiver.ignore(&self.peer, "replayed");
                self.strike("batches that it had sent before")
            }
            None if self.is_sound(&batch) => Taken::Ends(Ended::Failed("the scheduler did not take a batch in".into())),
            None => {
                *torn = true;
                self.strike("batches that can't be read, or are not its own")
            }
        }
    }

    fn strike(&mut self, what: &str) -> Taken {
        self.strikes += 1;
        if self.strikes < STRIKES_MAX {
            return Taken::Nothing;
        }
        self.strikes = 0;
        Taken::Ends(Ended::LeaveAlone(format!("it sent {STRIKES_MAX} {what}")))
    }

    /// What a failed call means.
    fn judge(&mut self, failure: Failure) -> Ended {
        match failure {
            Failure::Gone(why) => Ended::Failed(why),
            Failure::Foreign(why) => Ended::LeaveAlone(why),
            Failure::Malformed(why) => {
                self.receiver.ignore(&self.peer, "malformed");
                match self.strike("replies that can't be read") {
                    Taken::Ends(ended) => ended,
                    Taken::Heard | Taken::Nothing => Ended::Failed(why),
                }
            }
        }
    }

    /// Whether the peer did its part: only looked at when the receiver took nothing in.
    fn is_sound(&self, batch: &[u8]) -> bool {
        codec::decode(batch).is_ok_and(|decoded| decoded.batch.origin == self.peer)
    }

    fn is_behind(&self) -> bool {
        self.cursor.is_behind(&self.member.borrow())
    }

    fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff::pause(&self.me, &self.peer, self.failures)
    }
}

/// Which life of a member is called, and where.
fn place(member: &Member) -> (Incarnation, Option<SocketAddr>) {
    (member.incarnation, member.card.peer)
}

/// Resolves when what is watched changes: never, once nobody can change it.
async fn changed(watched: &mut watch::Receiver<u64>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
