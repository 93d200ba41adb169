//! The service that followers call: it checks each request and returns the follower's stream.
//!
//! Must not know sockets or certificates.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use murmuration::id::{Incarnation, PoolId, ReplicaId};
use murmuration::replication::codec::{self, NAME_BYTES_MAX, VERSION_MIN};
use murmuration_proto::peer::{FollowRequest, Replication};
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codegen::async_trait;
use tonic::transport::server::TlsConnectInfo;
use tonic::{Request, Response, Status};

use super::names;
use super::pacing::pace;
use super::server::Serving;
use super::subscriber_slots::{SUBSCRIBERS_MAX, SubscriberSlots};
use super::subscriber_stream::{FACTS_MAX, SubscriberStream};
use crate::replication::Publisher;

/// Most placements, and most bindings, that a joining replica is sent: usually 10 MiB and 1.5 MiB.
const HISTORY_MAX: usize = 65_536;

/// How long a follower may be unknown. A joining follower often knows this replica before this replica knows it.
const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(1);
/// How far what is relayed may be behind what a follower has.
const COPY_LAG_MAX: Duration = Duration::from_millis(200);

/// The service of this replica.
#[derive(Debug)]
pub(super) struct Service {
    serving: Serving,
    /// Whether a follower's certificate must carry its name.
    named: bool,
    pools: Vec<ServedPool>,
    closing: watch::Receiver<bool>,
    _pacing: JoinSet<()>,
}

/// What followers of one pool are served.
#[derive(Debug)]
struct ServedPool {
    publisher: Publisher,
    subscriber_slots: SubscriberSlots,
    /// The number up to which facts may be sent, the same for all followers.
    released: watch::Receiver<u64>,
}

/// What one follower is served.
struct Served {
    publisher: Publisher,
    slots: SubscriberSlots,
    /// The number up to which facts may be sent.
    released: watch::Receiver<u64>,
    /// Ends the stream.
    over: watch::Receiver<bool>,
}

// === impl Service ===

impl Service {
    /// Serves until `closing` is set or its sender is gone. With `named`, a follower's certificate must carry its name.
    /// Needs a tokio runtime.
    pub(super) fn new(serving: Serving, named: bool, closing: watch::Receiver<bool>) -> Self {
        let mut pacing = JoinSet::new();
        let pools = serving.publishers.iter().map(|publisher| {
            let (releasing, released) = watch::channel(0);
            pacing.spawn(pace(publisher.clone(), releasing));
            ServedPool { publisher: publisher.clone(), subscriber_slots: SubscriberSlots::default(), released }
        });
        Self { pools: pools.collect(), serving, named, closing, _pacing: pacing }
    }

    /// Checks that the follower is a member, and that its certificate carries its name where that is required.
    async fn admit(&self, follower: &ReplicaId, chain: Option<&[CertificateDer<'static>]>) -> Result<(), Status> {
        if self.named && !names::carries(chain, follower) {
            self.serving.receiver.ignore(follower, "not-its-name");
            return Err(Status::permission_denied(format!(
                "the certificate is not that of {follower}: it lacks the name {}",
                names::wanted(follower)
            )));
        }
        let mut members = self.serving.members.clone();
        let known = members.wait_for(|members| members.iter().any(|member| member.replica == *follower));
        if !matches!(timeout(MEMBERSHIP_TIMEOUT, known).await, Ok(Ok(_))) {
            self.serving.receiver.ignore(follower, "not-a-member");
            return Err(Status::unavailable(format!("{follower} is not a member here; join the tier first")));
        }
        Ok(())
    }

    /// History, for a follower that reads wire version `version`.
    async fn history(&self, publisher: &Publisher, version: u8) -> VecDeque<Bytes> {
        let known = self.serving.receiver.history(publisher.pool(), HISTORY_MAX).await;
        let batches = publisher.history(&known, FACTS_MAX);
        // A placement is far smaller than the limit of the codec, and so are a thousand.
        batches.iter().filter_map(|batch| codec::encode_as(version, batch).ok()).map(Bytes::from).collect()
    }

    /// What the follower is served: facts of this replica, or of another that it relays.
    async fn served(&self, pool: &ServedPool, asked: &FollowRequest) -> Result<Served, Status> {
        let ServedPool { publisher, subscriber_slots, released } = pool;
        if asked.origin.is_empty() || asked.origin == publisher.me().0 {
            let (slots, over) = (subscriber_slots.clone(), self.closing.clone());
            return Ok(Served { publisher: publisher.clone(), slots, released: released.clone(), over });
        }
        let origin = ReplicaId(asked.origin.chars().take(NAME_BYTES_MAX).collect());
        let Some(copy) = self.serving.copies.of(publisher.pool(), &origin) else {
            return Err(Status::not_found(format!("this replica does not relay {origin}; follow it directly")));
        };
        // Both receive the same batches at nearly the same time, so the copy may be a moment behind.
        let mut head = copy.publisher.head();
        let reached = head.wait_for(|head| *head >= asked.after);
        let same = Incarnation(asked.incarnation) == copy.publisher.incarnation();
        if asked.after > 0 && !(same && matches!(timeout(COPY_LAG_MAX, reached).await, Ok(Ok(_)))) {
            return Err(Status::unavailable(format!("what is relayed of {origin} is older; follow it directly")));
        }
        let (released, over) = (copy.publisher.head(), copy.withdrawn);
        Ok(Served { publisher: copy.publisher, slots: copy.subscriber_slots, released, over })
    }

    /// The pool that the follower asks for.
    fn check(&self, asked: &FollowRequest) -> Result<&ServedPool, Status> {
        if asked.replica.is_empty() || asked.replica.len() > NAME_BYTES_MAX {
            let bytes = asked.replica.len();
            return Err(Status::invalid_argument(format!(
                "a follower's name of {bytes} bytes; it has 1 to {NAME_BYTES_MAX}"
            )));
        }
        let name = if asked.pool.is_empty() { PoolId::DEFAULT } else { &asked.pool };
        let Some(pool) = self.pools.iter().find(|pool| pool.publisher.pool().as_str() == name) else {
            let name: String = name.chars().take(PoolId::BYTES_MAX).collect();
            return Err(Status::not_found(format!(
                "this replica serves no pool {name:?}; the follower should ask others"
            )));
        };
        let publisher = &pool.publisher;
        if asked.replica == publisher.me().0 {
            return Err(Status::invalid_argument("this replica has the follower's name; give each one of its own"));
        }
        let (lowest, highest) = (asked.wire_version_min, asked.wire_version_max);
        let version = publisher.version();
        if !codec::in_common(lowest, highest, version) {
            return Err(Status::failed_precondition(format!(
                "the follower reads versions {lowest} to {highest} of the wire format and this replica writes \
                 {VERSION_MIN} to {version}; upgrade the older of the two"
            )));
        }
        if *self.closing.borrow() {
            return Err(Status::unavailable("this replica is leaving; follow the others"));
        }
        Ok(pool)
    }
}

#[async_trait]
impl Replication for Service {
    type FollowStream = SubscriberStream;

    async fn follow(&self, request: Request<FollowRequest>) -> Result<Response<SubscriberStream>, Status> {
        let chain = request.extensions().get::<TlsConnectInfo<()>>().and_then(TlsConnectInfo::peer_certs);
        let asked = request.into_inner();
        let pool = self.check(&asked)?;
        let follower = ReplicaId(asked.replica.clone());
        self.admit(&follower, chain.as_deref().map(Vec::as_slice)).await?;
        let served = self.served(pool, &asked).await?;
        let publisher = &served.publisher;
        let full = || {
            Status::resource_exhausted(format!(
                "this replica serves {SUBSCRIBERS_MAX} followers already; try again later"
            ))
        };
        let slot = served.slots.take(follower).ok_or_else(full)?;
        let same_incarnation = Incarnation(asked.incarnation) == publisher.incarnation();
        let after = if same_incarnation { asked.after } else { 0 };
        let reads = u8::try_from(asked.wire_version_max).unwrap_or(u8::MAX);
        let version = reads.min(publisher.version());
        let history = if asked.history { self.history(publisher, version).await } else { VecDeque::new() };
        let serving = (publisher.clone(), &self.serving);
        let signals = (self.closing.clone(), served.over.clone(), served.released.clone());
        Ok(Response::new(SubscriberStream::new(serving, slot, signals, (version, after), history)))
    }
}
