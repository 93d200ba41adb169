//! One replica's part in replication: a publisher that lanes read from, a receiver that they hand to, and the members.
//!
//! Must not know chitchat or tonic (the lanes do), or what a fact means (the core does).

mod keeping;
mod lane;
mod members;
mod part;
mod publisher;
mod receiver;
mod salt;
mod settings;
mod subscribers;

pub use keeping::Keeping;
pub use lane::Lane;
pub use members::{Members, follow_members};
pub use part::{Links, PoolLinks, Replication, ReplicationError, ReplicationView};
pub use publisher::{EncodedBatch, Publisher};
pub use receiver::{Receiver, Reception};
pub use settings::{ReplicationSettings, incarnation_now, publisher_and_keeping};
pub use subscribers::{Subscribers, Subscription};
