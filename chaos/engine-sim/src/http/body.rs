//! The body of an answer: a text, or a stream of events that follows the model.
//!
//! Must not know routes.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::answer::Answer;
use super::driver::Message;
use crate::model::Output;

/// The body of an answer: all of it, or a stream.
pub(super) type AnswerBody = Either<Full<Bytes>, Events>;

/// Requests that the model has, and their tokens. A drop before they finish aborts them.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) answer: Answer,
    outputs: mpsc::UnboundedReceiver<Output>,
    /// Where its KV is kept, once it has finished.
    kept: Option<oneshot::Receiver<Value>>,
    driver: mpsc::UnboundedSender<Message>,
}

/// A stream of events.
#[derive(Debug)]
pub(super) struct Events {
    hold: Hold,
    ended: bool,
}

/// A body that is complete.
pub(super) fn whole(text: impl Into<Bytes>) -> AnswerBody {
    Either::Left(Full::new(text.into()))
}

// === impl Hold ===

impl Hold {
    pub(super) fn new(
        answer: Answer,
        outputs: mpsc::UnboundedReceiver<Output>,
        kept: Option<oneshot::Receiver<Value>>,
        driver: mpsc::UnboundedSender<Message>,
    ) -> Self {
        Self { answer, outputs, kept, driver }
    }

    /// Waits for the whole answer, or for the part that the engine produced before it stopped.
    pub(super) async fn whole(mut self) -> String {
        while let Some(output) = self.outputs.recv().await {
            self.answer.add(&output);
        }
        if let Some(Ok(parameters)) = self.kept.as_mut().map(oneshot::Receiver::try_recv) {
            self.answer.keep(&parameters);
        }
        self.answer.whole()
    }

    /// The answer as a stream.
    pub(super) fn stream(self) -> AnswerBody {
        Either::Right(Events { hold: self, ended: false })
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if !self.answer.finished() {
            let _ = self.driver.send(Message::GaveUp(self.answer.ids()));
        }
    }
}

// === impl Events ===

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.hold.outputs.poll_recv(context).map(|output| {
            let text = match output {
                Some(output) => self.hold.answer.events(&output),
                None => {
                    self.ended = true;
                    self.hold.answer.last_events()
                }
            };
            Some(Ok(Frame::data(text.into())))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}
