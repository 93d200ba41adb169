//! `EndpointPickerConfig`: text in, a valid [`Blueprint`] or all of its errors out.
//!
//! Must not know files or flags; the text is passed in.

pub mod blueprint;

pub use blueprint::Blueprint;
