//! The follower of one peer: it calls the peer, receives its batches, and calls again from its cursor.
//!
//! Must not know what a batch means. Whatever a peer sends costs at most a few batches before it is quarantined for a
//! while.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::replication::{Batch, Route, codec};
use murmuration_proto::peer::{FollowReply, FollowRequest};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Streaming;

use super::backoff;
use super::call::{self, Failure};
use super::connections::Connections;
use super::cursor::Cursor;
use super::follow::{FollowContext, Followed};
use super::joining::Joining;
use super::relaying::Relaying;
use super::states::States;
use super::tls::PeerTls;
use crate::environment::Network;
use crate::replication::{Lane, Receiver, Reception};
use crate::stall_detector::StallDetector;

/// Refused batches in a row after which a peer is quarantined.
const STRIKES_MAX: u32 = 3;
/// How long a quarantined peer is not called. A peer with another wire version is quarantined as well.
const QUARANTINE: Duration = Duration::from_secs(10);
/// How long a stream may make no progress while the members report a higher head. On a busy machine gossip may be half
/// a second ahead, and a new call with its handshake adds load.
const GAP_TIMEOUT: Duration = Duration::from_secs(1);
/// A stream that lasts this long resets the failures, so that the next pause is short again.
const SETTLED: Duration = Duration::from_secs(2);
/// How often an idle follower checks whether this replica stalled.
const STALL_CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The follower.
pub(super) struct Follower {
    me: ReplicaId,
    pool: PoolId,
    peer: ReplicaId,
    network: Arc<dyn Network>,
    connections: Connections,
    tls: PeerTls,
    receiver: Receiver,
    resync: watch::Receiver<u64>,
    rotated: watch::Receiver<u64>,
    followed: watch::Receiver<Followed>,
    states: States,
    joins: Arc<Joining>,
    relaying: Relaying,
    /// Whether this peer was lost and returned in the same incarnation: it is asked for history.
    returned: bool,
    cursor: Cursor,
    /// What was called last.
    called: Target,
    /// Calls in a row that did not last.
    failures: u32,
    /// Batches in a row that were refused.
    strikes: u32,
}

/// What a call depends on: when it changes, the follower calls again.
type Target = (Incarnation, Option<SocketAddr>, Route);

/// Why a call ended.
enum Ended {
    /// Another incarnation, address, route or certificate, a resync, or a stall of this replica: call at once.
    Reconnect,
    /// No progress, or a batch is missing: call from the cursor.
    Gap,
    /// The call failed.
    Failed(String),
    /// The peer is not called for a while.
    Quarantine(String),
    /// The peer is not followed any more.
    Over,
}

/// The result of a reply.
enum Taken {
    /// The cursor moved.
    Advanced,
    /// There was no batch, or none that can be used.
    Nothing,
    /// The call ended.
    Ends(Ended),
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(
        context: &FollowContext,
        followed: watch::Receiver<Followed>,
        cursor: Cursor,
        states: States,
        returned: bool,
    ) -> Self {
        let FollowContext { me, pool, network, connections, tls, receiver, resync, rotated, joins, .. } =
            context.clone();
        let (peer, called) = (followed.borrow().member.replica.clone(), target(&followed.borrow()));
        let relaying = Relaying::new((pool.clone(), peer.clone()), context.copies.clone(), context.clock);
        let (failures, strikes) = (0, 0);
        Self {
            me,
            pool,
            peer,
            network,
            connections,
            tls,
            receiver,
            resync,
            rotated,
            followed,
            states,
            joins,
            relaying,
            returned,
            cursor,
            called,
            failures,
            strikes,
        }
    }

    /// Follows until the peer is no longer a member.
    pub(super) async fn run(mut self) {
        loop {
            let ended = self.call().await;
            let relay_failed = self.relaying.ended(!matches!(ended, Ended::Over | Ended::Reconnect));
            let (pause, why) = match ended {
                Ended::Over => return,
                Ended::Reconnect => (Duration::ZERO, "reconnect requested".to_owned()),
                Ended::Gap => {
                    self.receiver.emit(&Event::GapRepaired { peer: self.peer.clone() });
                    (self.failed(), "no progress, or a batch was missing".to_owned())
                }
                Ended::Failed(why) => (self.failed(), why),
                Ended::Quarantine(why) => (QUARANTINE, why),
            };
            self.states.down(&self.peer, why);
            // Where it was a relay, the peer itself is called at once.
            let pause = if relay_failed { Duration::ZERO } else { pause };
            if !pause.is_zero() && !self.wait(pause).await {
                return;
            }
        }
    }

    /// Waits for `pause`, or until the peer's incarnation or address changes. `false` when the peer is no longer
    /// followed.
    async fn wait(&mut self, pause: Duration) -> bool {
        let called = self.called.clone();
        let wanted = async { self.followed.wait_for(|followed| target(followed) != called).await.is_ok() };
        tokio::select! {
            biased;
            wanted = wanted => wanted,
            () = sleep(pause) => true,
        }
    }

    /// One call, from connecting to its end.
    async fn call(&mut self) -> Ended {
        let Followed { member, route } = self.followed.borrow_and_update().clone();
        self.called = (member.incarnation, member.card.peer, route.clone());
        self.cursor.announced(member.incarnation);
        // An error means that the sender is gone, so no resync is requested.
        if self.resync.has_changed().unwrap_or(false) {
            self.resync.mark_unchanged();
            self.cursor.upto = 0;
        }
        let Some(address) = member.card.peer else { return Ended::Failed("it serves no streams".into()) };
        let (joins, returned) = (self.joins.asks(member.incarnation), std::mem::take(&mut self.returned));
        let history = joins.is_some() || returned;
        let via = self.relaying.begins(route, history, &mut self.cursor);
        let origin = via.as_ref().map_or_else(String::new, |_| self.peer.0.clone());
        let (called, address) = via.map_or((self.peer.clone(), address), |relay| (relay.replica, relay.address));
        let request = FollowRequest {
            replica: self.me.0.clone(),
            wire_version_min: codec::VERSION_MIN.into(),
            wire_version_max: self.receiver.version().into(),
            incarnation: self.cursor.incarnation.0,
            after: self.cursor.upto,
            history,
            // Releases that know no pools ignore it, and are asked for the default pool alone.
            pool: if self.pool.is_default() { String::new() } else { self.pool.to_string() },
            origin,
        };
        let called = call::open(&self.connections, (&called, address), self.network.clone(), &self.tls, request);
        let (greeting, stream, connection) = match called.await {
            Ok(opened) => opened,
            Err(failure) => {
                joins.iter().for_each(|asking| self.joins.not_delivered(asking));
                self.returned = returned;
                return self.classify(failure);
            }
        };
        let ended = if self.cursor.greeted(Incarnation(greeting.incarnation), greeting.head) {
            self.relaying.answered(&self.cursor);
            self.states.up(&self.peer, self.relaying.via(), &self.cursor, self.cursor.upto >= greeting.head);
            self.receive_all(stream, greeting.head).await
        } else {
            self.receiver.ignore(&self.peer, "stale-incarnation");
            Ended::Failed("an older incarnation of it answers".into())
        };
        // The next call is made on another connection, whatever ended this one.
        connection.ended();
        ended
    }

    /// Receives the stream to its end. `head` is the peer's last number when it greeted.
    async fn receive_all(&mut self, mut stream: Streaming<FollowReply>, head: u64) -> Ended {
        let called = self.called.clone();
        let settled = sleep(SETTLED);
        let gap_timer = sleep(GAP_TIMEOUT);
        let relay_again = self.relaying.relay_again_at();
        let relay_timer = sleep_until(relay_again.unwrap_or_else(Instant::now));
        tokio::pin!(settled, gap_timer, relay_timer);
        // Receivers for the loop, so that it does not borrow self.
        let (mut followed, mut resync) = (self.followed.clone(), self.resync.clone());
        let mut rotated = self.rotated.clone();
        rotated.mark_unchanged();
        let (mut behind, mut refused, mut settles) = (self.is_behind(), false, true);
        if self.cursor.upto >= head {
            self.relaying.caught_up();
        }
        let mut stall_detector = StallDetector::each(STALL_CHECK_INTERVAL);
        loop {
            tokio::select! {
                biased;
                // The next call sees the change too, and starts at 0.
                () = changed(&mut resync) => return Ended::Reconnect,
                // A new handshake checks the peer's certificate again.
                () = changed(&mut rotated) => return Ended::Reconnect,
                changed = followed.changed() => {
                    if changed.is_err() {
                        return Ended::Over;
                    }
                    let (incarnation, address, route) = target(&followed.borrow_and_update());
                    let restarted = incarnation != called.0 && incarnation != self.cursor.incarnation;
                    if restarted || (address, route) != (called.1, called.2.clone()) {
                        return Ended::Reconnect;
                    }
                    if !std::mem::replace(&mut behind, self.is_behind()) {
                        gap_timer.as_mut().reset(Instant::now() + GAP_TIMEOUT);
                    }
                }
                () = &mut settled, if settles => {
                    (self.failures, settles) = (0, false);
                    self.relaying.settled();
                }
                () = &mut gap_timer, if behind => return Ended::Gap,
                () = &mut relay_timer, if relay_again.is_some() => return Ended::Reconnect,
                stalled = stall_detector.tick() => {
                    if stalled {
                        return self.stalled();
                    }
                }
                reply = stream.message() => {
                    if stall_detector.missed() {
                        return self.stalled();
                    }
                    match self.take(reply, &mut refused).await {
                        Taken::Ends(ended) => return ended,
                        Taken::Nothing => {}
                        Taken::Advanced => {
                            self.relaying.received();
                            let caught_up = self.cursor.upto >= head;
                            self.states.received(&self.peer, self.cursor.upto, caught_up);
                            if caught_up {
                                self.relaying.caught_up();
                            }
                            behind = self.is_behind();
                            gap_timer.as_mut().reset(Instant::now() + GAP_TIMEOUT);
                        }
                    }
                    stall_detector.reset();
                }
            }
        }
    }

    /// Passes a reply to the receiver and waits until it is taken in. That slows the peer down.
    async fn take(&mut self, reply: Result<Option<FollowReply>, tonic::Status>, refused: &mut bool) -> Taken {
        let batch = match reply {
            Ok(Some(reply)) if !reply.history.is_empty() => {
                return match self.receiver.receive(Lane::Stream, &self.peer, &reply.history).await {
                    Reception::Taken(_) => Taken::Nothing,
                    Reception::OtherPool => self.strike("history of another pool"),
                    Reception::Refused => self.strike("history that can't be read"),
                };
            }
            Ok(Some(reply)) if reply.batch.is_empty() => return Taken::Nothing,
            Ok(Some(reply)) => reply.batch,
            Ok(None) => return Taken::Ends(Ended::Failed("it ended the stream".into())),
            Err(status) => return Taken::Ends(self.classify(Failure::of(&status))),
        };
        let also = |decoded: &Batch| self.relaying.take(decoded);
        match self.receiver.receive_and(Lane::Stream, &self.peer, &batch, also).await {
            // Its numbers are not those that the cursor counts.
            Reception::OtherPool => self.strike("batches of another pool"),
            // An earlier batch was refused, so the cursor must not pass it.
            Reception::Taken(_) if *refused => Taken::Ends(Ended::Gap),
            Reception::Taken(upto) if upto > self.cursor.upto => {
                (self.cursor.upto, self.strikes) = (upto, 0);
                Taken::Advanced
            }
            Reception::Taken(_) => {
                self.receiver.ignore(&self.peer, "replayed");
                self.strike("batches that it had sent before")
            }
            Reception::Refused if self.is_sound(&batch) => {
                self.relaying.drop_copy();
                Taken::Ends(Ended::Failed("the scheduler did not take a batch in".into()))
            }
            Reception::Refused => {
                *refused = true;
                self.strike("batches that can't be read, or are not its own")
            }
        }
    }

    /// This replica stood still: how old the facts are that wait in its sockets is not known.
    fn stalled(&self) -> Ended {
        self.joins.stalled();
        Ended::Reconnect
    }

    fn strike(&mut self, what: &str) -> Taken {
        self.strikes += 1;
        if self.strikes < STRIKES_MAX {
            return Taken::Nothing;
        }
        self.strikes = 0;
        Taken::Ends(Ended::Quarantine(format!("it sent {STRIKES_MAX} {what}")))
    }

    /// What a failed call means.
    fn classify(&mut self, failure: Failure) -> Ended {
        match failure {
            Failure::Gone(why) => Ended::Failed(why),
            Failure::Foreign(why) => Ended::Quarantine(why),
            Failure::Malformed(why) => {
                self.receiver.ignore(&self.peer, "malformed");
                match self.strike("replies that can't be read") {
                    Taken::Ends(ended) => ended,
                    Taken::Advanced | Taken::Nothing => Ended::Failed(why),
                }
            }
        }
    }

    /// Whether the batch itself is valid. Only checked when the receiver did not take it in.
    fn is_sound(&self, batch: &[u8]) -> bool {
        codec::decode_as(self.receiver.version(), batch).is_ok_and(|decoded| decoded.batch.origin == self.peer)
    }

    fn is_behind(&self) -> bool {
        self.cursor.is_behind(&self.followed.borrow().member)
    }

    fn failed(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        backoff::pause(&self.me, &self.peer, self.failures)
    }
}

fn target(Followed { member, route }: &Followed) -> Target {
    (member.incarnation, member.card.peer, route.clone())
}

/// Resolves when the watched value changes; never, once its sender is gone.
async fn changed(watched: &mut watch::Receiver<u64>) {
    if watched.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
