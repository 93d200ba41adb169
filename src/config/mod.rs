//! `EndpointPickerConfig`: text in, a valid [`Blueprint`] or all of its errors out.
//!
//! Must not know files or flags; the text is passed in.

pub mod blueprint;
pub mod complaint;
pub mod endpoints_file;

mod declared;
mod duration;
mod effective;
mod gates;
mod near;
mod parts;
mod profiles;
mod raw;
mod read;
mod sections;
mod tree;
mod walk;
mod wording;

pub use blueprint::Blueprint;
pub use complaint::ConfigErrors;
pub use read::{default_text, read};

pub use crate::plugin::Catalog;
