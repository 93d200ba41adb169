//! Faults: message sequences that no Envoy sends.
//!
//! Must not know how a fault is reported; it becomes the gRPC status of the stream.

/// Why a stream can't go on. The text names the message and the stream's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A message that does not fit the stream's phase.
    #[error("{came} came {when}; messages of one request must come in the order headers, body, trailers")]
    OutOfOrder {
        /// The message.
        came: &'static str,
        /// The phase of the stream.
        when: &'static str,
    },
    /// A message without any of the protocol's parts.
    #[error(
        "a message came with none of headers, body or trailers; proxy and picker may disagree on the protocol's version"
    )]
    Empty,
    /// A body mode that this replica does not support.
    #[error("{part} comes in mode {mode}; set processing_mode.{part}_mode to FULL_DUPLEX_STREAMED")]
    BodyMode {
        /// `request_body` or `response_body`.
        part: &'static str,
        /// The mode as Envoy spells it.
        mode: &'static str,
    },
}
