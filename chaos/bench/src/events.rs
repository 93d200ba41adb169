//! What it costs to record an event. The scheduler's actor records its events itself, after its answers have left.
//!
//! Must not know metrics. Log lines below the active level are not written, as in a replica by default.

use std::time::Duration;

use murmuration::event::{Decided, Event};
use murmuration::id::{EndpointId, Ticket};
use murmuration::prefix::PrefixMatch;
use murmuration::request::Outcome;
use murmuration_actors::telemetry::Telemetry;
use murmuration_actors::telemetry::span::Tracer;
use tokio::time::Instant;

use super::Failure;
use super::args::EventsArgs;
use super::table::{Cell, Table};

/// Models that the events name in turns.
const MODELS: u64 = 20;

/// Measures the events that the scheduler records for a request.
pub(super) fn run(args: &EventsArgs) -> Result<Table, Failure> {
    let telemetry = Telemetry::new("bench", Tracer::default()).map_err(|why| why.to_string())?;
    let mut table = Table::new("events", &["event", "each_ns"]).about("events", args.events);
    let decided = |n: u64| {
        let model = format!("model-{}", n % MODELS);
        Event::Decided(Box::new(Decided {
            ticket: Ticket(n),
            request_id: format!("{n:032x}"),
            model: model.clone(),
            target_model: model,
            rewritten_by: None,
            fairness_id: "default-flow".to_owned(),
            priority: 0,
            endpoint: EndpointId::new("bench", "vllm-0001"),
            port: 8000,
            matched: PrefixMatch { blocks: 3, of: 8 },
            block_tokens: 16,
            candidates: 200,
            split: None,
        }))
    };
    let closed = |n: u64| Event::TicketClosed { ticket: Ticket(n), outcome: Outcome::Completed };
    let kinds: [(&str, &dyn Fn(u64) -> Event); 2] = [("decided", &decided), ("ticket-closed", &closed)];
    for (name, make) in kinds {
        let events: Vec<Event> = (0..MODELS).map(make).collect();
        let began = Instant::now();
        for event in events.iter().cycle().take(args.events) {
            telemetry.record(event);
        }
        let took: Duration = began.elapsed();
        table.row(vec![
            Cell::Word(name.to_owned()),
            Cell::Figure(took.as_nanos() as f64 / args.events.max(1) as f64, 0),
        ]);
    }
    Ok(table)
}
