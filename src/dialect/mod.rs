//! Parsers of external bytes into the core's types. They are total functions: no input panics, none is trusted.
//!
//! Must not know sockets, ext-proc or what the results are used for.

pub mod cursor;
pub mod engine;
pub mod json_answer;
pub mod json_text;
pub mod kubernetes;
pub mod metrics_page;
pub mod openai;
pub mod sse;
pub mod usage;
