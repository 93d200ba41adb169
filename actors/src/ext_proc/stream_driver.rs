//! Drives one stream from its first message to its last.
//!
//! Must not know the protocol's order, which belongs to [`Exchange`], nor the rules of admission. The connection pulls:
//! the next message is read only when the replies to the last one were taken. So a slow proxy delays only its own
//! stream, and nothing queues here. Dropped at any point, the driver closes its ticket and reports the end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use murmuration::request::{InferenceRequest, Refusal, RefusalCode};
use murmuration_proto::ext_proc::{ProcessingRequest, ProcessingResponse, Request};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Status};

use super::admission::RequestPermit;
use super::body_memory::Room;
use super::connection_id::ConnectionId;
use super::exchange::{Closing, Exchange, News, Outbox, Read, Step, Unread};
use super::pace::Pace;
use super::shared::Shared;
use super::telemetry_sink::StreamWatch;
use crate::scheduler::{Decider, Reservation};

/// One stream and everything it holds.
pub struct StreamDriver<A: Decider, I> {
    shared: Arc<Shared<A>>,
    inbound: I,
    connection: ConnectionId,
    exchange: Exchange,
    outbox: Outbox,
    reservation: Option<Reservation>,
    watch: Box<dyn StreamWatch>,
    begun: bool,
    failure: Option<Status>,
    _opened: Option<OwnedSemaphorePermit>,
    /// Its place among the streams with a request, once one arrived.
    permit: Option<RequestPermit>,
    /// Room for the request's body, held until Envoy took it back.
    room: Option<Room>,
}

/// Why the wait for a message ended.
enum Late {
    /// No message came in time.
    TooLate,
    /// Another request needs the permit or the memory.
    GiveWay,
}

// === impl StreamDriver ===

impl<A: Decider, I> StreamDriver<A, I>
where
    I: Stream<Item = Result<ProcessingRequest, Status>> + Unpin,
{
    /// Drives a stream of messages that came by this connection.
    pub(super) fn new(shared: Arc<Shared<A>>, inbound: I, connection: ConnectionId) -> Self {
        let exchange = Exchange::new(shared.current(), shared.ids.generate(), (shared.now)());
        let (watch, opened) = (shared.sink.opened(), shared.admission.open());
        let full = opened.is_none();
        let mut stream_driver = Self {
            shared,
            inbound,
            connection,
            exchange,
            outbox: VecDeque::new(),
            reservation: None,
            watch,
            begun: false,
            failure: None,
            _opened: opened,
            permit: None,
            room: None,
        };
        if full {
            let sentence = "far too many streams are open; try again shortly";
            stream_driver.refuse(Refusal::new(RefusalCode::TooManyStreams, sentence));
        }
        stream_driver
    }

    /// Reads until there is something to send. Nothing is sent before, not even gRPC's headers. So Envoy can still
    /// retry the whole request on another replica if this one fails.
    pub(super) async fn read_request(&mut self) -> Result<(), Status> {
        let mut pace = Pace::new(Instant::now());
        while self.outbox.is_empty() && !self.exchange.is_over() {
            let Some(message) = self.receive(&mut pace).await? else { return Ok(()) };
            let came = Instant::now();
            let bytes = body_bytes(&message);
            if let Err(refusal) = self.admit(&message, bytes).await {
                self.refuse(refusal);
                return Ok(());
            }
            pace.came(bytes, came.elapsed());
            let mut step = self.handle(message)?;
            if let (Step::Read(_) | Step::Ask(_), Some(permit)) = (&step, &mut self.permit) {
                permit.arrived();
            }
            if let Step::Read(unread) = step {
                step = self.read(*unread).await;
            }
            if let Step::Ask(request) = step {
                self.ask(*request).await;
            }
        }
        // Also if the proxy answered by itself before the request was whole.
        if let Some(permit) = &mut self.permit {
            permit.arrived();
        }
        Ok(())
    }

    /// The next message; `None` when the stream ended or was refused.
    async fn receive(&mut self, pace: &mut Pace) -> Result<Option<ProcessingRequest>, Status> {
        let limits = self.shared.settings.limits;
        let refusal = loop {
            let mut deadline = pace.deadline(&limits, Instant::now());
            if pace.excuses(deadline, Instant::now()) {
                deadline = pace.deadline(&limits, Instant::now());
            }
            match self.wait(deadline).await {
                Ok(Some(Ok(message))) => return Ok(Some(message)),
                Ok(Some(Err(status))) if status.code() == Code::OutOfRange => {
                    let sentence = format!("one message is larger than {} bytes", limits.message_bytes);
                    break Refusal::new(RefusalCode::BodyTooLarge, sentence);
                }
                Ok(Some(Err(status))) => return Err(status),
                Ok(None) => return Ok(None),
                Err(Late::TooLate) if pace.excuses(deadline, Instant::now()) => {}
                Err(Late::TooLate) => {
                    break Refusal::new(RefusalCode::RequestTooSlow, pace.error(&limits, Instant::now()));
                }
                Err(Late::GiveWay) => {
                    let sentence = "the request gave way to others: it hardly came on, and this picker is full";
                    break Refusal::new(RefusalCode::RequestTooSlow, sentence);
                }
            }
        };
        self.refuse(refusal);
        Ok(None)
    }

    /// The next message, or the stream's end.
    async fn wait(&mut self, deadline: Instant) -> Result<Option<I::Item>, Late> {
        let must_give_way = async {
            match &mut self.permit {
                Some(permit) => permit.must_give_way().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = must_give_way => Err(Late::GiveWay),
            next = timeout_at(deadline, self.inbound.next()) => next.map_err(|_| Late::TooLate),
        }
    }

    /// Makes room for a message of a request. A response needs none: it is passed on, whatever its source.
    async fn admit(&mut self, message: &ProcessingRequest, bytes: usize) -> Result<(), Refusal> {
        if is_of_response(message) {
            return Ok(());
        }
        let admission = &self.shared.admission;
        let permit = match &mut self.permit {
            Some(permit) => permit,
            none => none.insert(admission.enter(self.connection).await?),
        };
        let patience = self.shared.settings.limits.decision_timeout;
        if let Some(room) = admission.hold(permit, bytes, patience).await? {
            self.shared.sink.holds_bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
            match &mut self.room {
                Some(whole) => whole.merge(room),
                None => self.room = Some(room),
            }
        }
        Ok(())
    }

    /// Reads a long body on a thread of its own, so that other streams continue meanwhile.
    async fn read(&mut self, unread: Unread) -> Step {
        let busy = |sentence: &str| Refusal::new(RefusalCode::PickerBusy, sentence);
        let patience = self.shared.settings.limits.decision_timeout;
        let read: Result<Read, Refusal> = match self.shared.admission.reader(patience).await {
            None => Err(busy("too many long requests wait to be read; try again shortly")),
            Some(turn) => {
                let reading = tokio::task::spawn_blocking(move || {
                    let read = unread.read();
                    drop(turn);
                    read
                });
                reading.await.map_err(|_| busy("the request could not be read"))
            }
        };
        match read {
            Ok(read) => self.exchange.read(read, &mut self.outbox),
            Err(refusal) => {
                self.refuse(refusal);
                Step::Over
            }
        }
    }

    async fn ask(&mut self, mut request: InferenceRequest) {
        // One deadline for both; half of it is left for the scheduler.
        let patience = self.shared.settings.limits.decision_timeout;
        let deadline = Instant::now() + patience;
        prepare(&self.shared, &self.exchange, &mut request, patience / 2).await;
        self.watch.asked(&request);
        let verdict = timeout_at(deadline, self.shared.decider.ask(request)).await.unwrap_or_else(|_| {
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

    fn handle(&mut self, message: ProcessingRequest) -> Result<Step, Status> {
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

    /// Refuses the request and frees its permit.
    fn refuse(&mut self, refusal: Refusal) {
        self.exchange.refuse(refusal, &mut self.outbox);
        self.permit = None;
    }
}

impl<A: Decider, I> StreamDriver<A, I> {
    /// Returns the room: Envoy took the body, or the stream ended.
    fn return_room(&mut self) {
        if let Some(room) = self.room.take() {
            let bytes = i64::try_from(room.bytes()).unwrap_or(i64::MAX);
            self.shared.sink.holds_bytes(-bytes);
        }
    }

    fn report_end(&mut self) {
        let delivered = self.outbox.is_empty();
        let Some(end) = self.exchange.finish(delivered, (self.shared.now)()) else {
            return;
        };
        match (self.reservation.take(), end.closing) {
            (Some(reservation), Closing::Finish(outcome, usage)) => reservation.finish(outcome, usage),
            (Some(reservation), Closing::Leave) => reservation.leave(),
            (None, _) => {}
        }
        self.shared.sink.record(&end.event);
    }
}

impl<A: Decider, I> Stream for StreamDriver<A, I>
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
            this.return_room();
            if let Some(failure) = this.failure.take() {
                this.report_end();
                return Poll::Ready(Some(Err(failure)));
            }
            if this.exchange.is_over() {
                this.report_end();
                return Poll::Ready(None);
            }
            match ready!(Pin::new(&mut this.inbound).poll_next(cx)) {
                Some(Ok(message)) => this.failure = this.handle(message).err(),
                Some(Err(status)) => this.failure = Some(status),
                None => {
                    this.report_end();
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<A: Decider, I> Drop for StreamDriver<A, I> {
    fn drop(&mut self) {
        self.return_room();
        self.report_end();
    }
}

/// Lets others complete the request, if there are any to ask.
async fn prepare<A>(shared: &Shared<A>, exchange: &Exchange, request: &mut InferenceRequest, longest: Duration) {
    let (Some(preparation), Some((path, body))) = (&shared.preparation, exchange.waiting()) else { return };
    for event in preparation.prepare(path, body, request, longest).await {
        shared.sink.record(&event);
    }
}

/// Bytes of a request's body in this message.
fn body_bytes(message: &ProcessingRequest) -> usize {
    match &message.request {
        Some(Request::RequestBody(body)) => body.body.len(),
        _ => 0,
    }
}

fn is_of_response(message: &ProcessingRequest) -> bool {
    use Request::{ResponseBody, ResponseHeaders, ResponseTrailers};
    matches!(message.request, Some(ResponseHeaders(_) | ResponseBody(_) | ResponseTrailers(_)))
}

#[cfg(test)]
mod tests;
