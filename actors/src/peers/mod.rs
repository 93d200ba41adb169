//! The peer-stream lane: a replica follows every other by one server-streaming call, and is pushed what the other says
//! within milliseconds. The contract is `proto/peer.proto`.
//!
//! Must not know what a fact means, who lives (the members says), or the other lane. Nothing queues here for a slow
//! follower: its cursor lags, and when it comes it finds the newest word on each subject. Losing every stream makes a
//! replica's view older, never wrong.

mod authority;
mod backoff;
mod call;
mod caught_up;
mod cursor;
mod follow;
mod follower;
mod incoming;
mod joining;
mod names;
mod pacing;
mod server;
mod service;
mod states;
mod subscriber_slots;
mod subscriber_stream;
mod tls;

use std::time::Duration;

pub use authority::Authority;
pub use caught_up::{CATCH_UP_PATIENCE, caught_up};
pub use follow::{Following, Listening, follow};
pub use joining::Joining;
pub use server::{ServeError, Serving, serve};
pub use states::{StreamState, Streams};
pub use tls::{PEER_NAME, PeerNames, PeerTls, PeerTlsError};

/// How often a connection is asked whether its other end still lives, and how long that may take to answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Bytes of one stream that may be under way unread. What is under way can't become newer any more, so it is small.
const STREAM_WINDOW: u32 = 256 << 10;

#[cfg(test)]
mod tests;
