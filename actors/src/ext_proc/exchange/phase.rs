//! The phases of a stream.
//!
//! Must not know what is done in each phase.

use murmuration_proto::ext_proc::BodySendMode;

use super::Fault;
use super::response::Answer;
use crate::ext_proc::body::Gathered;

/// The phase of a stream.
#[derive(Debug)]
pub(super) enum Phase {
    /// Nothing arrived yet.
    Opening,
    /// The request's headers arrived, but not its end.
    Gathering { body: Gathered },
    /// The request is whole, and the scheduler was asked for its endpoints.
    Deciding { body: Gathered, ended_by: End },
    /// The request was sent on.
    Answered,
    /// The response's headers arrived.
    Responding,
    /// The request was sent on and the replica does not stay for the answer.
    Left,
    /// Nothing more is sent.
    Over,
}

/// What ended a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its headers; it has no body.
    Headers,
    /// The last chunk of its body, which may be empty.
    Body,
    /// Its trailers.
    Trailers,
}

// === impl Phase ===

impl Phase {
    pub(super) fn is_opening(&self) -> bool {
        matches!(self, Self::Opening)
    }

    /// Whether the answer was seen to its end, or would have been if its body were shown.
    pub(super) fn is_whole(&self, answer: &Answer) -> bool {
        answer.ended || matches!(self, Self::Responding) && answer.bodiless
    }

    /// The fault for a message `came` that does not fit this phase.
    pub(super) fn misplaced(&self, came: &'static str) -> Fault {
        let when = match self {
            Self::Opening => "before the request's headers",
            Self::Gathering { .. } => "while the request was still coming",
            Self::Deciding { .. } => "after the request's end",
            Self::Answered => "after the request was sent on",
            Self::Responding => "after the response's headers",
            Self::Left | Self::Over => "after the stream's end",
        };
        Fault::OutOfOrder { came, when }
    }
}

/// The name of a body mode that this replica can't serve. `NONE` shows no body, which is fine where none is needed.
pub(super) fn unserved(mode: i32, none_is_fine: bool) -> Option<&'static str> {
    match BodySendMode::try_from(mode) {
        Ok(BodySendMode::FullDuplexStreamed) => None,
        Ok(BodySendMode::None) if none_is_fine => None,
        Ok(other) => Some(other.as_str_name()),
        Err(_) => Some("UNKNOWN"),
    }
}
