//! Replication: what replicas publish to each other, and what each keeps of the others. There is no leader.
//!
//! Every replica is the only writer of the facts that it observed itself. A fact is absolute (never "one more", always
//! "now seven"), carries its age, and is numbered by its origin. So loss, repetition and reordering are harmless, and
//! the same fact may arrive by either lane.
//!
//! Must not know sockets, chitchat, tonic or liveness: lanes take batches from a [`FactLog`] and hand received ones to
//! the scheduler, which keeps [`Peers`].

pub mod card;
pub mod codec;
pub mod encoded;
pub mod fact_log;
pub mod keepers;
pub mod pages;
pub mod peers;
pub mod record;
pub mod relays;
mod salt;
pub mod snapshot;

mod sequence_window;
mod table;

pub use card::{Member, POOL_NAMES_BYTES_MAX, POOLS_MAX, ReplicaCard};
pub use encoded::{Encoded, EncodedFact};
pub use fact_log::FactLog;
pub use keepers::{Keeper, Keepers};
pub use pages::{Page, Pages};
pub use peers::{News, PeerSummary, Peers, Received};
pub use record::{
    Batch, Binding, CacheCleared, EndpointLoad, Fact, Failing, InFlightReport, Placement, PlacementRevoked, Record,
};
pub use relays::{Relay, Route};
pub use salt::{InvalidSaltClaim, SaltClaim};
pub use snapshot::{FactBatch, Snapshot};
