//! The flock as one replica takes part in it: a voice that lanes read from, an ear that they hand to, and the roster of
//! those who live.
//!
//! Must not know chitchat or tonic (the lanes do), nor what a fact means (the mind does).

mod ear;
mod keeping;
mod roster;
mod voice;

pub use ear::{Ear, Lane};
pub use keeping::Keeping;
pub use roster::{Roster, follow_roster};
pub use voice::Voice;
