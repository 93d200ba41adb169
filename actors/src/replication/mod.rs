//! The replication as one replica takes part in it: a publisher that lanes read from, an receiver that they hand to, and the members of
//! those who live.
//!
//! Must not know chitchat or tonic (the lanes do), nor what a fact means (the mind does).

mod keeping;
mod members;
mod part;
mod publisher;
mod receiver;
mod salt;
mod settings;
mod subscribers;

pub use keeping::Keeping;
pub use members::{Members, follow_members};
pub use part::{Links, Replication, ReplicationError, ReplicationView};
pub use publisher::{EncodedBatch, Publisher};
pub use receiver::{Lane, Receiver};
pub use settings::{ReplicationSettings, incarnation_now, publisher_and_keeping};
pub use subscribers::{Subscribers, Subscription};
