//! The flock as one replica takes part in it: a voice that lanes read from, an ear that they hand to, and the roster of
//! those who live.
//!
//! Must not know chitchat or tonic (the lanes do), nor what a fact means (the mind does).

mod audience;
mod ear;
mod keeping;
mod part;
mod roster;
mod salt;
mod settings;
mod voice;

pub use audience::{Audience, Listener};
pub use ear::{Ear, Lane};
pub use keeping::Keeping;
pub use part::{Flock, FlockError, FlockView, Links};
pub use roster::{Roster, follow_roster};
pub use settings::{FlockSettings, incarnation_now, mouth_and_eyes};
pub use voice::{Told, Voice};
