//! What a replica learns from the Kubernetes API: its pool, the pool's pods, the priorities of objectives, where its
//! peers are, and whether a caller may read `/metrics`. It writes one thing there: the conditions of objectives and
//! rewrites.
//!
//! Must not know how objects are read (`murmuration::dialect::kubernetes` does), nor how endpoints and peers are used.
//! Nothing here forgets: while the API server can't be asked, or is being asked for everything again, what was known
//! stays in force. Each watch is a part that is restarted for ever.

mod announcer;
mod client;
mod context;
mod failure;
mod objects;
mod outage;
mod parts;
mod peers;
mod pods;
mod pool;
mod reader;
mod referring;
mod review;
mod settings;
mod status;
mod view;
mod watch;

pub use client::{ApiServer, KubernetesError};
pub use parts::{start_endpoints, start_peers, start_pool};
pub use review::{Review, Reviewer};
pub use settings::{KubernetesSettings, PeerPods, PoolName, Source};
