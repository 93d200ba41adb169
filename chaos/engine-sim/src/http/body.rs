//! The body of an answer: a text, or a stream of events that follows the model.
//!
//! Must not know routes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::driver::Message;
use crate::model::Output;

/// The body of an answer.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// All of it; `None` once it is sent.
    Whole(Option<Bytes>),
    /// A stream.
    Events(Box<Events>),
}

/// Requests that the model has, and their tokens. A drop before they finish aborts them.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) answer: Answer,
    outputs: mpsc::UnboundedReceiver<Output>,
    driver: mpsc::UnboundedSender<Message>,
}

/// A stream of events.
#[derive(Debug)]
pub(super) struct Events {
    hold: Hold,
    ended: bool,
}

// === impl Hold ===

impl Hold {
    pub(super) fn new(
        answer: Answer,
        outputs: mpsc::UnboundedReceiver<Output>,
        driver: mpsc::UnboundedSender<Message>,
    ) -> Self {
        Self { answer, outputs, driver }
    }

    /// Waits for the whole answer, or for the part that the engine produced before it stopped.
    pub(super) async fn whole(mut self) -> String {
        while let Some(output) = self.outputs.recv().await {
            self.answer.add(&output);
        }
        self.answer.whole()
    }

    /// The answer as a stream.
    pub(super) fn into_events(self) -> Events {
        Events { hold: self, ended: false }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.answer.finished() {
            let _ = self.driver.send(Message::GaveUp(self.answer.ids()));
        }
    }
}

// === impl AnswerBody ===

impl AnswerBody {
    /// A body that is complete.
    pub(super) fn whole(text: impl Into<Bytes>) -> Self {
        Self::Whole(Some(text.into()))
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Self::Whole(text) => {
                let text = text.take().filter(|text| !text.is_empty());
                Poll::Ready(text.map(|text| Ok(Frame::data(text))))
            }
            Self::Events(events) if events.ended => Poll::Ready(None),
            Self::Events(events) => events.hold.outputs.poll_recv(context).map(|output| {
                let text = match output {
                    Some(output) => events.hold.answer.events(&output),
                    None => {
                        events.ended = true;
                        events.hold.answer.last_events()
                    }
                };
                Some(Ok(Frame::data(text.into())))
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(text) => text.as_ref().is_none_or(Bytes::is_empty),
            Self::Events(events) => events.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Self::Events(_) => SizeHint::default(),
        }
    }
}
