//! A client of one address over HTTP/1.1: answers whole or streamed, one at a time or at a steady rate.
//!
//! Must not know what a correct answer is; its callers decide that.

mod answer;
mod connection;
mod error;
mod events;
mod load;
mod pool;
mod stream;
mod tally;
#[cfg(test)]
mod tests;

pub use answer::Answer;
pub use error::{ClientError, ClientRequest, Lost};
pub use events::{EVENT_BYTES_MAX, EventReader, EventTooLong};
pub use load::{Call, Load};
pub use pool::{ANSWER_BYTES_MAX, Client};
pub use stream::EventStream;
pub use tally::{Cause, EXAMPLES_MAX, Sample, Success, Tally, Usage, quantile};

/// The header in which an emulated engine sends its name with each answer, as llm-d's simulator does.
pub const ENGINE_NAME: &str = "x-inference-pod";
