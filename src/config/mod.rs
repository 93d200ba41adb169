//! Reads an `EndpointPickerConfig` text into a valid [`Blueprint`], or returns all of its errors.
//!
//! Must not know files or flags; the text is passed in.

pub mod blueprint;
pub mod endpoints_file;
pub mod error;

mod declared;
pub mod duration;
mod effective;
mod gates;
mod messages;
mod parts;
mod profiles;
mod raw;
mod read;
pub mod reference;
mod sections;
mod suggestion;
mod tree;
mod walk;

pub use blueprint::Blueprint;
pub use error::ConfigErrors;
pub use read::{default_text, llm_d_text, read};

pub use crate::plugin::Catalog;
