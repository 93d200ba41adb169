//! The body of a request as it arrives from a client, which must not take for ever.
//!
//! Must not know what becomes of it.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::settings::Deadlines;
use super::silence::Silence;

/// A body that ends with an error when its client is silent for too long, or needs too long for all of it.
#[derive(Debug)]
pub(super) struct Arriving {
    body: Incoming,
    pause: Silence,
    whole: Pin<Box<Sleep>>,
}

/// Why a body did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotArrived {
    #[error("the body did not arrive in time")]
    TooSlow,
    #[error("the body broke off")]
    Broken,
}

// === impl Arriving ===

impl Arriving {
    pub(super) fn new(body: Incoming, deadlines: &Deadlines) -> Self {
        Self { body, pause: Silence::new(deadlines.arrival), whole: Box::pin(sleep(deadlines.arrived)) }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = NotArrived;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NotArrived>>> {
        match Pin::new(&mut self.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                self.pause.is_broken();
                Poll::Ready(frame.map(|frame| frame.map_err(|_| NotArrived::Broken)))
            }
            Poll::Pending if self.pause.lasts(cx) || self.whole.as_mut().poll(cx).is_ready() => {
                Poll::Ready(Some(Err(NotArrived::TooSlow)))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl NotArrived ===

impl NotArrived {
    /// The reason inside of an HTTP library's error, if it is one.
    pub(super) fn within(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut inner = Some(error);
        while let Some(error) = inner {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(*found);
            }
            inner = error.source();
        }
        None
    }
}
