//! Bytes of the outside world, read into our nouns by total functions: no input panics, none is trusted.
//!
//! Must not know sockets, ext-proc or what is done with what was read.

pub mod cursor;
pub mod engine;
pub mod json_answer;
pub mod json_text;
pub mod metrics_page;
pub mod openai;
pub mod sse;
pub mod usage;
