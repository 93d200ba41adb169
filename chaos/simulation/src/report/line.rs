//! One entry of a history as one line: time, source, a symbol, a label, and columns.
//!
//! Must not know what is right. The symbols: `>` decision, `x` refusal or no answer, `^` replica started, `!` replica
//! stopped, panic or restart, `~` trust, scrape or keeping, `?` peer lost or ignored, `=` peer joined, `#` fault
//! begins, `.` fault ends, `*` phase, `+` and `-` endpoints, `:` details that a trace leaves out.

use std::fmt::Write as _;

use murmuration::event::Event;
use murmuration::id::EndpointId;

use crate::history::{Entry, Fact, Legs, Snapshot, Source, Twin};
use crate::plan::Plan;

/// Whether a line is part of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// It is part of the trace.
    Trace,
    /// It is a detail of a frequent kind, written with `--all` only.
    Detail,
}

/// Whether such a fact is part of the trace.
pub fn volume(fact: &Fact) -> Volume {
    match fact {
        Fact::SnapshotTaken(_) | Fact::Asked { .. } | Fact::Sent { .. } | Fact::Done { .. } | Fact::Announced(_) => {
            Volume::Detail
        }
        Fact::Paired { .. } | Fact::LegsEnded { legs: Legs::Moved { .. }, .. } => Volume::Detail,
        Fact::Emitted(event) => match event {
            Event::Scraped { .. }
            | Event::BatchReceived { .. }
            | Event::BytesSent { .. }
            | Event::TicketClosed { .. } => Volume::Detail,
            Event::RequestFinished(_) | Event::Refused { .. } => Volume::Detail,
            _ => Volume::Trace,
        },
        _ => Volume::Trace,
    }
}

/// The entry as a line, without a line break.
pub fn line(entry: &Entry, plan: &Plan) -> String {
    let who = match entry.by {
        Source::Replica(replica, 0) => format!("r{replica}"),
        Source::Replica(replica, start) => format!("r{replica}.{start}"),
        Source::Engine(engine) => format!("e{engine}"),
        Source::Client => "c".to_owned(),
        Source::Environment => "*".to_owned(),
    };
    let (symbol, label, columns) = columns(&entry.fact, plan);
    let mut line = String::with_capacity(80);
    // Writing to a string does not fail.
    let _ = write!(line, "{:>10.3}s {who:<5} {symbol} {label:<9} {columns}", entry.at.as_secs_f64());
    line.truncate(line.trim_end().len());
    line
}

type Columns = (char, &'static str, String);

fn columns(fact: &Fact, plan: &Plan) -> Columns {
    let strike = |index: &usize| match plan.faults.get(*index) {
        Some(strike) => format!("{index:<2} {}", strike.fault),
        None => format!("{index:<2} not in the plan"),
    };
    match fact {
        Fact::Phase(phase) => ('*', "phase", format!("{phase:?}").to_lowercase()),
        Fact::FaultBegan(index) => ('#', "fault", strike(index)),
        Fact::FaultEnded(index) => ('.', "over", strike(index)),
        Fact::PairStruck(who) => ('!', "dies", who.to_string()),
        Fact::Started => ('^', "started", String::new()),
        Fact::Stopped => ('!', "stopped", String::new()),
        Fact::Panicked(why) => ('!', "panic", why.clone()),
        Fact::Announced(endpoints) => {
            (':', "announced", endpoints.iter().map(|id| format!("{} ", id.name())).collect())
        }
        Fact::SnapshotTaken(snapshot) => (':', "snapshot", snapshot_columns(snapshot)),
        Fact::Emitted(event) => event_columns(event),
        Fact::Twins(twins) => (':', "twins", twins.iter().map(twin).collect()),
        _ => client_columns(fact),
    }
}

fn client_columns(fact: &Fact) -> Columns {
    match fact {
        Fact::Asked { request, replica, attempt, subset } => {
            (':', "asked", format!("q={request:<6} r{replica} attempt={attempt} subset={}", subset.len()))
        }
        Fact::Sent { request, replica, to } => {
            (':', "sent", format!("q={request:<6} r{replica} {}", name(to.as_ref())))
        }
        Fact::Paired { request, replica, prefill } => {
            let names: String = prefill.iter().map(|to| format!(" {}", name(to.as_ref()))).collect();
            (':', "paired", format!("q={request:<6} r{replica}{names}"))
        }
        Fact::LegsEnded { request, legs: Legs::Moved { from } } => {
            (':', "moved", format!("q={request:<6} from engine-{from}"))
        }
        Fact::LegsEnded { request, legs: Legs::Computed(why) } => {
            ('x', "computed", format!("q={request:<6} by the decode engine: {why}"))
        }
        Fact::LegsEnded { request, legs: Legs::Failed(why) } => ('x', "failed", format!("q={request:<6} {why}")),
        Fact::WrongAnswer { request, by } => ('x', "wrong", format!("q={request:<6} {}", by.name())),
        Fact::Refused { request, replica, status, code } => {
            ('x', "refused", format!("q={request:<6} r{replica} {status} {code}"))
        }
        Fact::Unanswered { request, replica, why } => ('x', "no answer", format!("q={request:<6} r{replica} {why}")),
        Fact::Done { request, end, first_token, prompt: (tokens, cached) } => {
            let first = first_token.map_or(0.0, |after| after.as_secs_f64() * 1e3);
            (':', "done", format!("q={request:<6} {end:?} ttft={first:.1}ms cached={cached}/{tokens}"))
        }
        _ => (':', "", String::new()),
    }
}

fn event_columns(event: &Event) -> Columns {
    match event {
        Event::Decided(decided) => {
            let matched = decided.matched;
            let columns = format!(
                "t={:<6} {:<10} px={}/{} of={} q={}",
                decided.ticket.0,
                decided.endpoint.name(),
                matched.blocks,
                matched.of,
                decided.candidates,
                decided.request_id
            );
            ('>', "pick", columns)
        }
        Event::EndpointJoined(endpoint) => ('+', "endpoint", endpoint.name().to_owned()),
        Event::EndpointLeft(endpoint) => ('-', "endpoint", endpoint.name().to_owned()),
        Event::TrustChanged { endpoint, from, to } => {
            ('~', "trust", format!("{:<10} {} -> {}", endpoint.name(), from.as_str(), to.as_str()))
        }
        Event::PeerJoined { peer, incarnation } => ('=', "peer", format!("{peer} incarnation={incarnation}")),
        Event::PeerLost { peer, incarnation } => ('?', "lost", format!("{peer} incarnation={incarnation}")),
        Event::Keeping { kept, of } => ('~', "keeping", format!("{kept}/{of}")),
        Event::ScrapeFailed { endpoint, kind, .. } => ('~', "scrape", format!("{:<10} {kind}", endpoint.name())),
        Event::ActorRestarted { actor, why } => ('!', "restart", format!("{actor}: {why}")),
        Event::PeerIgnored { peer, why } => ('?', "ignored", format!("{peer} {why}")),
        other => (':', "event", format!("{other:?}")),
    }
}

fn snapshot_columns(snapshot: &Snapshot) -> String {
    let in_flight: u32 = snapshot.fleet.endpoints.iter().map(|endpoint| endpoint.in_flight.requests).sum();
    let foreign: u32 = snapshot.fleet.endpoints.iter().map(|endpoint| endpoint.foreign.requests).sum();
    format!(
        "ep={} open={} own={in_flight} peers'={foreign} peers={} ready={} digest={:016x} all={:016x}",
        snapshot.fleet.endpoints.len(),
        snapshot.fleet.tickets.open,
        snapshot.members.len(),
        u8::from(snapshot.ready),
        snapshot.digest.all(),
        xxhash_rust::xxh3::xxh3_64(format!("{snapshot:?}").as_bytes())
    )
}

fn twin(twin: &Twin) -> String {
    let prefill: String = twin.prefill.iter().map(|id| format!("<{}", id.name())).collect();
    let (to, (matched, of)) = (name(twin.to.as_ref()), twin.matched);
    format!("r{}={to}{prefill} {matched}/{of} ({}) ", twin.replica, twin.held)
}

fn name(endpoint: Option<&EndpointId>) -> &str {
    endpoint.map_or("none", EndpointId::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::testing::{HistoryBuilder, decided, replica, well};
    use crate::plan::{Fault, Place};
    use murmuration::id::Incarnation;

    #[test]
    fn a_trace_has_fixed_columns() {
        let mut history = HistoryBuilder::with(vec![Fault::Freeze { who: Place::Replica(2) }]);
        history.at(12_345).told(1, decided(8812, 3));
        history.world(Fact::FaultBegan(0));
        history.told(0, Event::PeerLost { peer: replica(2), incarnation: Incarnation(4) });
        history.client(Fact::Refused { request: 7, replica: 1, status: 503, code: "rejected-no-endpoints".into() });
        let lines: Vec<String> = history.entries[4..].iter().map(|entry| line(entry, &history.plan)).collect();
        let expected = [
            "    12.345s r1    > pick      t=8812   engine-3   px=0/10 of=4 q=8812",
            "    12.345s *     # fault     0  freeze replica-2",
            "    12.345s r0    ? lost      replica-2 incarnation=4",
            "    12.345s c     x refused   q=7      r1 503 rejected-no-endpoints",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn snapshots_that_differ_in_anything_have_different_lines() {
        let mut history = HistoryBuilder::calm();
        history.snapshot(0, well(0));
        let mut other = well(0);
        other.fleet.peers[0].facts += 1;
        history.snapshot(0, other);
        assert_ne!(line(&history.entries[4], &history.plan), line(&history.entries[5], &history.plan));
        assert_eq!(volume(&history.entries[4].fact), Volume::Detail);
    }
}
