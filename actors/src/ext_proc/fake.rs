//! A fake scheduler and a recording sink, for the tests of this folder.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use murmuration::event::Event;
use murmuration::id::{EndpointId, Ticket};
use murmuration::prefix::PrefixMatch;
use murmuration::request::{InferenceRequest, Refusal};
use murmuration::schedule::{Decision, Explanation, Leg, Stage, Target};

use super::telemetry_sink::{Headers, StreamWatch, TelemetrySink, TraceContext};
use crate::scheduler::{Decider, Reservation, TicketOwner, TicketUpdate};

/// Everything that was recorded, and the tickets that are open.
#[derive(Default)]
pub(super) struct Told {
    pub(super) open: BTreeMap<Ticket, Vec<TicketUpdate>>,
    pub(super) closed: Vec<Vec<TicketUpdate>>,
    pub(super) events: Vec<Event>,
    pub(super) watched: Vec<String>,
    pub(super) bytes_held: i64,
    /// Lengths of the prompts that decisions were asked for.
    pub(super) tokens: Vec<u64>,
}

/// The fake scheduler and its record.
#[derive(Clone, Default)]
pub(super) struct Table {
    pub(super) told: Arc<Mutex<Told>>,
    pub(super) delay: Duration,
    pub(super) tickets: Arc<AtomicU64>,
}

struct Watch(Arc<Mutex<Told>>);

impl Decider for Table {
    async fn ask(&self, request: InferenceRequest) -> Result<(Reservation, Arc<Decision>), Refusal> {
        tokio::time::sleep(self.delay).await;
        let ticket = Ticket(self.tickets.fetch_add(1, Ordering::Relaxed));
        let mut told = self.told.lock().unwrap();
        told.open.insert(ticket, Vec::new());
        told.tokens.push(request.prompt.tokens);
        drop(told);
        let target = Target {
            endpoint: EndpointId::new("default", "one"),
            address: "10.0.0.1:8000".parse().unwrap(),
            matched: PrefixMatch::default(),
            score: 0.0,
        };
        let leg = Leg::new(Stage::Decode, vec![target]);
        let decision = Decision::new(vec![leg], Explanation::default());
        Ok((Reservation::new(ticket, Arc::new(self.clone())), Arc::new(decision)))
    }
}

impl TicketOwner for Table {
    fn update(&self, ticket: Ticket, news: TicketUpdate) {
        let mut told = self.told.lock().unwrap();
        let over = matches!(news, TicketUpdate::Finished(..));
        told.open.get_mut(&ticket).expect("the ticket is open").push(news);
        if over {
            let news = told.open.remove(&ticket).unwrap();
            told.closed.push(news);
        }
    }
}

impl TelemetrySink for Table {
    fn record(&self, event: &Event) {
        self.told.lock().unwrap().events.push(event.clone());
    }

    fn holds_bytes(&self, more: i64) {
        self.told.lock().unwrap().bytes_held += more;
    }

    fn opened(&self) -> Box<dyn StreamWatch> {
        self.told.lock().unwrap().watched.push("opened".to_owned());
        Box::new(Watch(self.told.clone()))
    }
}

impl StreamWatch for Watch {
    fn began(&mut self, context: TraceContext<'_>) {
        self.0.lock().unwrap().watched.push(format!("began {} {:?}", context.request_id, context.traceparent));
    }

    fn asked(&mut self, request: &InferenceRequest) {
        self.0.lock().unwrap().watched.push(format!("asked {}", request.incoming_model));
    }

    fn decided(&mut self, decision: &Decision) {
        let address = decision.primary().unwrap().address;
        self.0.lock().unwrap().watched.push(format!("decided {address}"));
    }

    fn headers(&self) -> Headers {
        vec![("traceparent", "00-ours".to_owned())]
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.lock().unwrap().watched.push("ended".to_owned());
    }
}
