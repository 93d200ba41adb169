//! What replicas tell each other, and what each makes of it: one replication, no leader.
//!
//! Every replica is the only writer of the facts that it observed itself. A fact is absolute (never "one more", always
//! "now seven"), numbered by its origin, and carries its age; so loss, repetition and reordering are harmless, and the
//! same fact may come by either lane. Nothing here knows sockets, chitchat, tonic or who is alive: lanes ask a
//! [`FactLog`] for batches and hand what they receive to the scheduler, which keeps [`Peers`].

pub mod card;
pub mod codec;
pub mod encoded;
pub mod fact_log;
pub mod keepers;
pub mod pages;
pub mod peers;
pub mod record;
mod salt;
pub mod snapshot;

mod sequence_window;
mod table;

pub use card::{Member, ReplicaCard};
pub use encoded::{Encoded, EncodedFact};
pub use fact_log::FactLog;
pub use keepers::{Keeper, Keepers};
pub use pages::{Page, Pages};
pub use peers::{News, PeerSummary, Peers, Received};
pub use record::{
    Batch, Binding, CacheCleared, EndpointLoad, Fact, Failing, InFlightReport, Placement, PlacementRevoked, Record,
};
pub use salt::{NoClaim, SaltClaim};
pub use snapshot::{FactBatch, Snapshot};
