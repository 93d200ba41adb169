//! The supervision tree: every long-running actor and task of a replica is a *part*, under one rule.
//!
//! A failure (an error, a panic, an actor that stopped) is recorded as an event, and the part restarts after a pause
//! that grows. A *vital* part that fails ten times in a row ends the replica with a reason. A *tolerated* part is
//! restarted for ever: it serves one engine or one peer, and none of those may end the process. Must not know what
//! parts do.
//!
//! | part | kind | what it does |
//! |---|---|---|
//! | `scheduler` | vital | the actor that decides |
//! | `pool` | vital | starts and stops endpoint watchers as announcements come |
//! | `discovery` | vital | the actor that reads the endpoints file |
//! | `announcer` | vital | announces what the watches of the Kubernetes API show of the pool |
//! | `watch RESOURCE` | tolerated | one watch of the Kubernetes API |
//! | `status RESOURCE` | tolerated | writes the conditions of objects of one kind |
//! | `feed` | vital | forwards announcements of the environment, where it has a feed |
//! | `endpoint NAME` | tolerated | the actor that scrapes one engine |
//! | `ext-proc`, `health`, `admin` | vital | the servers |
//! | `gauges` | vital | sets the pool's gauges |
//! | `certificates` | vital | follows the certificate of ext-proc |
//! | `prompt-salt`, `salt` | vital | applies the salt of prompts, and agrees on it with the tier |
//! | `gossip` | vital | watches the gossip lane; the lane restarts by itself as the next incarnation, else this fails |
//! | `peer-server` | vital | serves peer streams |
//! | `peer-streams` | vital | follows every member that serves peer streams |
//! | `peer-stream NAME` | tolerated | the stream from one peer |
//! | `members` | vital | voids the work of lost peers, computes keepers |
//! | `resync` | vital | asks peers to send all facts again after the scheduler restarted |
//! | `readiness NAME` | tolerated | follows the readiness of several pools, where there are several |
//! | `join` | vital | waits for the first facts of peers, then ends |
//! | `proxy`, `metrics` | vital | the servers of a sidecar |
//! | `allowed-targets` | vital | follows the file of a sidecar's allowed targets |
//!
//! A replica of several pools has a supervisor for each, beside that of the process: what belongs to one pool
//! (`scheduler`, `pool`, `endpoint NAME`, `ext-proc`, `peer-streams` and so on) is a part of the pool's.
//!
//! Tasks that belong to one connection end with it and are not parts: handshakes (`handshakes.rs`), the streams of a
//! server (inside tonic and axum), the driver of a scrape's connection (`endpoint/scrape.rs`), and a sidecar's
//! requests and connections to engines (`sidecar/server.rs`, `sidecar/client.rs`). The process's panic
//! hook reports a panic there.

mod actor;
mod restarts;
mod supervisor;

pub use actor::live;
pub use supervisor::{Ended, Failed, Held, Supervisor};
