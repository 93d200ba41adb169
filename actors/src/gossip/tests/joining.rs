//! A replica that starts asks those that it knows, whatever names of others do.

use std::collections::BTreeSet;
use std::future::{pending, ready};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use murmuration::id::{Incarnation, ReplicaId};
use murmuration::replication::codec;

use super::super::envelope::Envelope;
use super::super::joining::asked;
use super::super::link::Link;
use super::node::{Node, Plan, until};
use crate::environment::datagrams;
use crate::replication::Receiver;
use crate::scheduler::SchedulerHandle;
use crate::telemetry::Telemetry;
use crate::telemetry::span::Tracer;

/// A link of the replica `name`, which starts as `incarnation`.
fn link(name: &str, incarnation: u64) -> Link {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let advertise = socket.local_addr().unwrap();
    let me = ReplicaId(name.to_owned());
    let telemetry = Telemetry::new("pool", Tracer::default()).unwrap();
    let (_, scheduler) = SchedulerHandle::unstarted(Duration::from_secs(1));
    let receiver = Receiver::new(me.clone(), scheduler, telemetry).upto(codec::VERSION);
    let envelope = (Arc::new(Envelope::new("tier", None)), false);
    let socket = (datagrams(socket).unwrap(), advertise);
    Link::new((me, Incarnation(incarnation)), socket, envelope, Duration::from_millis(20), receiver).unwrap()
}

#[tokio::test]
async fn names_that_do_not_resolve_in_time_keep_no_other_replica_from_being_asked() {
    let a = Node::start(Plan::new("a")).await;
    let former = Node::start(Plan::new("b").incarnation(50).seed(&a)).await;
    until("they meet", || a.names() == ["b"]).await;
    drop(former);
    let known = BTreeSet::from([a.address()]);
    // Found by watching, while a name server gives no answer.
    assert_eq!(asked(&link("b", 7), known.clone(), pending()).await, Incarnation(51));
    // By name alone, and with others that don't answer.
    assert_eq!(asked(&link("b", 7), BTreeSet::new(), ready(known.clone())).await, Incarnation(51));
    let nobody = BTreeSet::from([SocketAddr::from(([127, 0, 0, 1], 9))]);
    assert_eq!(asked(&link("b", 7), nobody, ready(known)).await, Incarnation(51));
    assert_eq!(asked(&link("b", 7), BTreeSet::new(), ready(BTreeSet::new())).await, Incarnation(7));
    assert_eq!(asked(&link("b", 7), BTreeSet::new(), pending()).await, Incarnation(7));
}
