//! The supervision tree: every long-running actor and task of a replica is a *part*, under one rule.
//!
//! A part that fails (an error, a panic, an actor that stopped) is told as an event and started again after a pause that
//! grows. A *vital* part that fails ten times in a row ends the replica with a reason. A *tolerated*
//! part is tried for ever: it serves one engine or one peer, and none of those may end the process. Must not know what
//! parts do.
//!
//! | part | kind | what it does |
//! |---|---|---|
//! | `scheduler` | vital | the actor that decides |
//! | `pool` | vital | starts and stops endpoint watchers as announcements come |
//! | `discovery` | vital | the actor that reads the endpoints file |
//! | `feed` | vital | forwards announcements of the surrounding world, where there is one |
//! | `endpoint NAME` | tolerated | the actor that scrapes one engine |
//! | `ext-proc`, `health`, `admin` | vital | the servers |
//! | `gauges` | vital | sets the pool's gauges |
//! | `certificates` | vital | follows the certificate of ext-proc |
//! | `prompt-salt`, `salt` | vital | puts the salt of prompts in force, and agrees on it with the tier |
//! | `gossip` | vital | watches the gossip lane, which starts again by itself as the next incarnation, and fails when that fails |
//! | `peer-server` | vital | serves peer streams |
//! | `peer-streams` | vital | follows the peers of the members |
//! | `peer-stream NAME` | tolerated | the stream from one peer |
//! | `members` | vital | voids the work of lost peers, computes keepers |
//! | `rehear` | vital | asks peers to tell all again after the scheduler was restarted |
//! | `join` | vital | waits for the first words of peers, then ends |
//!
//! Tasks that belong to one connection end with it and are not parts: handshakes (`handshakes.rs`), the streams of a server
//! (inside tonic and axum), and the driver of a scrape's connection (`endpoint/scrape.rs`). A panic there is told by the
//! process's panic hook.

mod actor;
mod restarts;
mod supervisor;

pub use actor::live;
pub use supervisor::{Ended, Failed, Held, Supervisor};
