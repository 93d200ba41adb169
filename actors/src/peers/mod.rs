//! The peer-stream lane. A replica follows each peer by one server-streaming call for each pool that both serve, all on
//! one connection, and receives its facts within milliseconds. The contract is `proto/peer.proto`.
//!
//! Must not know what a fact means, how membership is decided, or the gossip lane. Nothing queues here for a slow
//! follower: its cursor lags, and later it gets the newest fact on each subject. Without streams a replica's view is
//! older, but not wrong.

mod authority;
mod backoff;
mod call;
mod caught_up;
mod connections;
mod copies;
mod cursor;
mod follow;
mod follower;
mod incoming;
mod joining;
mod names;
mod pacing;
mod relaying;
mod server;
mod service;
mod states;
mod subscriber_slots;
mod subscriber_stream;
mod tls;

use std::time::Duration;

pub use authority::Authority;
pub use caught_up::{CATCH_UP_TIMEOUT, caught_up};
pub use connections::Connections;
pub use copies::Copies;
pub use follow::{FollowContext, Following, follow};
pub use joining::Joining;
pub use server::{ServeError, Serving, serve};
pub use states::{StreamState, Streams};
pub use tls::{PEER_NAME, PeerNames, PeerTls, PeerTlsError};

/// How often each end of a connection is pinged, and how long the reply may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Unread bytes in flight on one stream. Bytes in flight can no longer be replaced by newer facts, so the window is
/// small.
const STREAM_WINDOW: u32 = 256 << 10;

#[cfg(test)]
mod tests;
