//! One stream, attended from its first message to its last.
//!
//! Must not know the protocol's order, which is [`Exchange`]'s, nor the limits on streams, which are the service's.
//! It is pulled by the connection: the next message is read only when the answers to the last one were taken, so a slow
//! proxy holds back its own stream and nothing piles up here. Dropped at any point, it closes its ticket and says so.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use murmuration::request::{InferenceRequest, Refusal, RefusalCode};
use murmuration_proto::ext_proc::{ProcessingRequest, ProcessingResponse};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use super::exchange::{Closing, Exchange, News, Outbox, Step};
use super::service::Shared;
use super::witness::StreamWatch;
use crate::scheduler::{Asking, Reservation};

/// One stream and everything it holds.
pub struct Attendance<A: Asking, I> {
    shared: Arc<Shared<A>>,
    inbound: I,
    exchange: Exchange,
    outbox: Outbox,
    reservation: Option<Reservation>,
    watch: Box<dyn StreamWatch>,
    begun: bool,
    failure: Option<Status>,
    _permit: Option<OwnedSemaphorePermit>,
}

// === impl Attendance ===

impl<A: Asking, I> Attendance<A, I>
where
    I: Stream<Item = Result<ProcessingRequest, Status>> + Unpin,
{
    /// Attends a stream of messages; without a permit it is refused at once.
    pub(super) fn new(shared: Arc<Shared<A>>, inbound: I, permit: Option<OwnedSemaphorePermit>) -> Self {
        let exchange = Exchange::new(shared.settings.clone(), shared.dice.roll(), (shared.now)());
        let watch = shared.witness.opened();
        let crowded = permit.is_none();
        let mut attendance = Self {
            shared,
            inbound,
            exchange,
            outbox: VecDeque::new(),
            reservation: None,
            watch,
            begun: false,
            failure: None,
            _permit: permit,
        };
        if crowded {
            let sentence = "this picker holds as many requests as it may; try again shortly";
            attendance.refuse(RefusalCode::TooManyStreams, sentence.to_owned());
        }
        attendance
    }

    /// Reads until there is something to say. Nothing is sent before, not even gRPC's headers, so that Envoy may still
    /// retry the whole request on another replica if this one dies.
    pub(super) async fn hear_request(&mut self) -> Result<(), Status> {
        let idle = self.shared.settings.limits.body_idle;
        while self.outbox.is_empty() && !self.exchange.is_over() {
            let message = match timeout(idle, self.inbound.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(status))) if status.code() == Code::OutOfRange => {
                    let limit = self.shared.settings.limits.message_bytes;
                    self.refuse(RefusalCode::BodyTooLarge, format!("one message is larger than {limit} bytes"));
                    return Ok(());
                }
                Ok(Some(Err(status))) => return Err(status),
                Ok(None) => return Ok(()),
                Err(_) => {
                    let sentence = format!("the request did not end, and nothing of it came for {} s", idle.as_secs());
                    self.refuse(RefusalCode::BadRequest, sentence);
                    return Ok(());
                }
            };
            if let Step::Ask(request) = self.hear(message)? {
                self.ask(*request).await;
            }
        }
        Ok(())
    }

    async fn ask(&mut self, request: InferenceRequest) {
        self.watch.asked(&request);
        let patience = self.shared.settings.limits.decision_patience;
        let verdict = timeout(patience, self.shared.asking.ask(request)).await.unwrap_or_else(|_| {
            let sentence = "the picker did not decide in time; try again shortly";
            Err(Refusal::new(RefusalCode::PickerBusy, sentence))
        });
        let now = (self.shared.now)();
        match verdict {
            Ok((reservation, decision)) => {
                self.reservation = Some(reservation);
                self.watch.decided(&decision);
                let trace = self.watch.headers();
                self.exchange.decided(&decision, trace, now, &mut self.outbox);
            }
            Err(refusal) => self.exchange.refuse(refusal, &mut self.outbox),
        }
    }

    fn hear(&mut self, message: ProcessingRequest) -> Result<Step, Status> {
        let now = (self.shared.now)();
        let step = self.exchange.on(message, now, &mut self.outbox);
        if !self.begun
            && let Some(context) = self.exchange.trace_context()
        {
            self.begun = true;
            self.watch.began(context);
        }
        while let Some(news) = self.exchange.news() {
            match (&self.reservation, news) {
                (Some(reservation), News::Served(address)) => reservation.served(address),
                (Some(reservation), News::FirstToken) => reservation.first_token(),
                (None, _) => {}
            }
        }
        step.map_err(|fault| Status::invalid_argument(fault.to_string()))
    }

    fn refuse(&mut self, code: RefusalCode, sentence: String) {
        self.exchange.refuse(Refusal::new(code, sentence), &mut self.outbox);
    }
}

impl<A: Asking, I> Attendance<A, I> {
    fn say_farewell(&mut self) {
        let delivered = self.outbox.is_empty();
        let Some(farewell) = self.exchange.farewell(delivered, (self.shared.now)()) else {
            return;
        };
        match (self.reservation.take(), farewell.closing) {
            (Some(reservation), Closing::Finish(outcome, usage)) => reservation.finish(outcome, usage),
            (Some(reservation), Closing::Leave) => reservation.leave(),
            (None, _) => {}
        }
        self.shared.witness.record(&farewell.event);
    }
}

impl<A: Asking, I> Stream for Attendance<A, I>
where
    I: Stream<Item = Result<ProcessingRequest, Status>> + Unpin,
{
    type Item = Result<ProcessingResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(reply) = this.outbox.pop_front() {
                return Poll::Ready(Some(Ok(reply)));
            }
            if let Some(failure) = this.failure.take() {
                this.say_farewell();
                return Poll::Ready(Some(Err(failure)));
            }
            if this.exchange.is_over() {
                this.say_farewell();
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inbound).poll_next(cx)) {
                Some(Ok(message)) => this.failure = this.hear(message).err(),
                Some(Err(status)) => this.failure = Some(status),
                None => {
                    this.say_farewell();
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<A: Asking, I> Drop for Attendance<A, I> {
    fn drop(&mut self) {
        self.say_farewell();
    }
}

#[cfg(test)]
mod tests;
