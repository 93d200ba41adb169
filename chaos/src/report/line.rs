//! One entry of a chronicle as one line: time, who, a symbol, a word, and columns.
//!
//! Must not know what is right. The symbols: `>` pick, `x` refusal, `!` gone, `^` back, `~` trust, `?` peer lost, `=` peer joined,
//! `#` fault, `.` fault over, `*` phase, `+` and `-` endpoints, `:` all that is not part of the score.

use std::fmt::Write as _;

use murmuration::event::Event;
use murmuration::id::EndpointId;

use crate::chronicle::{Entry, Fact, Look, Twin, Witness};
use crate::plan::Plan;

/// Whether a line is part of the score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volume {
    /// People read it.
    Score,
    /// There are many of its kind, and it is written only when all is to be seen.
    Noise,
}

/// Whether such a fact is part of the score.
pub fn volume(fact: &Fact) -> Volume {
    match fact {
        Fact::Looked(_) | Fact::Asked { .. } | Fact::Sent { .. } | Fact::Done { .. } | Fact::Announced(_) => {
            Volume::Noise
        }
        Fact::Told(event) => match event {
            Event::Scraped { .. }
            | Event::BatchReceived { .. }
            | Event::BatchSent { .. }
            | Event::TicketClosed { .. } => Volume::Noise,
            Event::RequestFinished(_) | Event::Refused { .. } => Volume::Noise,
            _ => Volume::Score,
        },
        _ => Volume::Score,
    }
}

/// The entry as a line, without its end.
pub fn line(entry: &Entry, plan: &Plan) -> String {
    let who = match entry.by {
        Witness::Replica(replica, 0) => format!("r{replica}"),
        Witness::Replica(replica, life) => format!("r{replica}.{life}"),
        Witness::Engine(engine) => format!("e{engine}"),
        Witness::Client => "c".to_owned(),
        Witness::World => "*".to_owned(),
    };
    let (symbol, word, columns) = told(&entry.fact, plan);
    let mut line = String::with_capacity(80);
    // Writing to a string does not fail.
    let _ = write!(line, "{:>10.3}s {who:<5} {symbol} {word:<9} {columns}", entry.at.as_secs_f64());
    line.truncate(line.trim_end().len());
    line
}

type Columns = (char, &'static str, String);

fn told(fact: &Fact, plan: &Plan) -> Columns {
    let strike = |index: &usize| match plan.faults.get(*index) {
        Some(strike) => format!("{index:<2} {}", strike.fault),
        None => format!("{index:<2} nobody's"),
    };
    match fact {
        Fact::Phase(phase) => ('*', "phase", format!("{phase:?}").to_lowercase()),
        Fact::Struck(index) => ('#', "fault", strike(index)),
        Fact::Lifted(index) => ('.', "over", strike(index)),
        Fact::Born => ('^', "born", String::new()),
        Fact::Gone => ('!', "gone", String::new()),
        Fact::Panicked(why) => ('!', "panic", why.clone()),
        Fact::Announced(endpoints) => {
            (':', "announced", endpoints.iter().map(|id| format!("{} ", id.name())).collect())
        }
        Fact::Looked(look) => (':', "looked", looked(look)),
        Fact::Told(event) => of_event(event),
        Fact::Twins(twins) => (':', "twins", twins.iter().map(twin).collect()),
        Fact::Asked { .. } | Fact::Sent { .. } | Fact::Refused { .. } | Fact::Unanswered { .. } | Fact::Done { .. } => {
            of_client(fact)
        }
    }
}

fn of_client(fact: &Fact) -> Columns {
    match fact {
        Fact::Asked { request, replica, attempt, subset } => {
            (':', "asked", format!("q={request:<6} r{replica} try={attempt} subset={}", subset.len()))
        }
        Fact::Sent { request, replica, to } => {
            (':', "sent", format!("q={request:<6} r{replica} {}", name(to.as_ref())))
        }
        Fact::Refused { request, replica, status, code } => {
            ('x', "refused", format!("q={request:<6} r{replica} {status} {code}"))
        }
        Fact::Unanswered { request, replica, why } => ('x', "silence", format!("q={request:<6} r{replica} {why}")),
        Fact::Done { request, end, first_token, prompt: (tokens, cached) } => {
            let first = first_token.map_or(0.0, |after| after.as_secs_f64() * 1e3);
            (':', "done", format!("q={request:<6} {end:?} ttft={first:.1}ms cached={cached}/{tokens}"))
        }
        _ => (':', "", String::new()),
    }
}

fn of_event(event: &Event) -> Columns {
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
        Event::PeerJoined { peer, incarnation } => ('=', "peer", format!("{peer} life={incarnation}")),
        Event::PeerLost { peer, incarnation } => ('?', "lost", format!("{peer} life={incarnation}")),
        Event::Keeping { kept, of } => ('~', "keeping", format!("{kept}/{of}")),
        Event::ScrapeFailed { endpoint, kind, .. } => ('~', "scrape", format!("{:<10} {kind}", endpoint.name())),
        Event::ActorRestarted { actor, why } => ('!', "restart", format!("{actor}: {why}")),
        Event::PeerIgnored { peer, why } => ('?', "ignored", format!("{peer} {why}")),
        other => (':', "told", format!("{other:?}")),
    }
}

fn looked(look: &Look) -> String {
    let in_flight: u32 = look.fleet.endpoints.iter().map(|endpoint| endpoint.in_flight.requests).sum();
    let foreign: u32 = look.fleet.endpoints.iter().map(|endpoint| endpoint.foreign.requests).sum();
    format!(
        "ep={} open={} own={in_flight} peers'={foreign} peers={} ready={} digest={:016x} all={:016x}",
        look.fleet.endpoints.len(),
        look.fleet.tickets.open,
        look.members.len(),
        u8::from(look.ready),
        look.digest.all(),
        xxhash_rust::xxh3::xxh3_64(format!("{look:?}").as_bytes())
    )
}

fn twin(twin: &Twin) -> String {
    format!("r{}={} {}/{} ({}) ", twin.replica, name(twin.to.as_ref()), twin.matched.0, twin.matched.1, twin.held)
}

fn name(endpoint: Option<&EndpointId>) -> &str {
    endpoint.map_or("nobody", EndpointId::name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Fault, Place};
    use crate::promises::testing::{Tale, decided, replica, well};
    use murmuration::id::Incarnation;

    #[test]
    fn a_score_is_read_in_fixed_columns() {
        let mut tale = Tale::with(vec![Fault::Freeze { who: Place::Replica(2) }]);
        tale.at(12_345).told(1, decided(8812, 3));
        tale.world(Fact::Struck(0));
        tale.told(0, Event::PeerLost { peer: replica(2), incarnation: Incarnation(4) });
        tale.client(Fact::Refused { request: 7, replica: 1, status: 503, code: "rejected-no-endpoints".into() });
        let lines: Vec<String> = tale.entries[4..].iter().map(|entry| line(entry, &tale.plan)).collect();
        let score = [
            "    12.345s r1    > pick      t=8812   engine-3   px=0/10 of=4 q=8812",
            "    12.345s *     # fault     0  freeze replica-2",
            "    12.345s r0    ? lost      replica-2 life=4",
            "    12.345s c     x refused   q=7      r1 503 rejected-no-endpoints",
        ];
        assert_eq!(lines, score);
    }

    #[test]
    fn two_looks_that_differ_in_anything_have_two_lines() {
        let mut tale = Tale::calm();
        tale.look(0, well(0));
        let mut other = well(0);
        other.fleet.peers[0].facts += 1;
        tale.look(0, other);
        assert_ne!(line(&tale.entries[4], &tale.plan), line(&tale.entries[5], &tale.plan));
        assert_eq!(volume(&tale.entries[4].fact), Volume::Noise);
    }
}
