//! The fleet and the peers as tables for a terminal.
//!
//! Must not know where they came from; it is given the JSON of `/debug/fleet` and `/debug/peers`.

use std::fmt::Write as _;

use serde_json::Value;

use super::printable::printable;
use crate::text_table::{left, right, table};

/// `/debug/fleet`: one line for each endpoint.
pub fn fleet(fleet: &Value) -> String {
    let columns = [
        left("ENDPOINT"),
        left("ADDRESS"),
        left("TRUST"),
        right("WAITING"),
        right("RUNNING"),
        right("KV"),
        right("IN FLIGHT"),
        right("OF PEERS"),
        right("PREFILL"),
        right("DECODE"),
        right("UNSEEN"),
        right("BLOCKS"),
        right("AGE"),
    ];
    let rows: Vec<_> = items(&fleet["endpoints"]).map(endpoint).collect();
    let mut page = table(&columns, &rows);
    let tickets = &fleet["tickets"];
    // Writing to a string can't fail.
    let _ = writeln!(
        page,
        "\ntickets: {} open, {} closed, {} expired; prefix index: {} bytes; sessions: {}",
        number(&tickets["open"]),
        number(&tickets["closed"]),
        number(&tickets["expired"]),
        number(&fleet["index_bytes"]),
        number(&fleet["sessions"]),
    );
    page
}

fn endpoint(row: &Value) -> [String; 13] {
    let report = &row["report"];
    [
        text(&row["endpoint"]["id"]),
        text(&row["endpoint"]["address"]),
        if row["reachable"] == false { "GONE".to_owned() } else { text(&row["trust"]) },
        number(&report["waiting"]),
        number(&report["running"]),
        report["kv_usage"].as_f64().map_or("-".to_owned(), |kv| format!("{:.0}%", kv * 100.0)),
        number(&row["in_flight"]["requests"]),
        number(&row["foreign"]["requests"]),
        sum(&row["in_flight"]["prefill_tokens"], &row["foreign"]["prefill_tokens"]),
        sum(&row["in_flight"]["decode_tokens"], &row["foreign"]["decode_tokens"]),
        number(&row["unseen"]),
        number(&row["index_blocks"]),
        span(&row["age"]),
    ]
}

/// `/debug/peers`: one line for each other replica that is known.
pub fn peers(replication: &Value) -> String {
    let mut page =
        format!("replica {} (incarnation {})\n\n", text(&replication["replica"]), number(&replication["incarnation"]));
    if replication["sharing"] == false {
        page.push_str("this replica shares nothing: it was started without --peer\n");
        return page;
    }
    let columns = [
        left("PEER"),
        left("ZONE"),
        left("STREAM"),
        left("VERSION"),
        right("PUBLISHED"),
        right("RECEIVED"),
        right("GAPS"),
        right("REFUSED"),
        right("IN FLIGHT"),
        right("QUIET"),
        left("STATE"),
    ];
    let rows: Vec<_> = items(&replication["peers"]).map(peer).collect();
    page + &table(&columns, &rows)
}

fn peer(peer: &Value) -> [String; 11] {
    let (member, received) = (&peer["member"], &peer["heard"]);
    let state = match (member.is_null(), member["card"]["draining"] == true) {
        (true, _) => "lost",
        (_, true) => "draining",
        _ => "live",
    };
    let stream = match (peer["stream"].is_null(), peer["stream"]["connected"] == true) {
        (true, _) => "none".to_owned(),
        (_, true) if peer["stream"]["via"].is_string() => format!("via {}", text(&peer["stream"]["via"])),
        (_, true) => text(&member["card"]["peer"]),
        _ => "connecting".to_owned(),
    };
    [
        text(&peer["replica"]),
        text(&member["card"]["zone"]),
        stream,
        text(&member["card"]["version"]),
        number(&member["head"]),
        number(&received["upto"]),
        number(&received["gaps"]),
        number(&received["refused"]),
        number(&received["in_flight"]["requests"]),
        span(&received["quiet"]),
        state.to_owned(),
    ]
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Untrusted text, made harmless for a terminal.
fn text(value: &Value) -> String {
    printable(value.as_str().unwrap_or("-")).into_owned()
}

fn number(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), |number| number.to_string())
}

/// The sum of this replica's value and that of its peers.
fn sum(own: &Value, of_peers: &Value) -> String {
    let sum = own.as_u64().zip(of_peers.as_u64()).map(|(own, of_peers)| own.saturating_add(of_peers));
    sum.map_or("-".to_owned(), |sum| sum.to_string())
}

/// A span as serde writes it, in milliseconds or seconds.
fn span(value: &Value) -> String {
    let Some(seconds) = value["secs"].as_u64() else { return "-".to_owned() };
    let millis = value["nanos"].as_u64().unwrap_or(0) / 1_000_000 + seconds.saturating_mul(1000);
    if millis < 10_000 { format!("{millis}ms") } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_unreachable_endpoint_is_gone_and_one_without_a_report_shows_no_zeros() {
        let row = |reachable: bool, report: Value| {
            json!({"endpoint": {"id": "default/a", "address": "127.0.0.1:1"}, "report": report, "reachable": reachable,
                "trust": "EXACT", "age": {"secs": 0, "nanos": 42_000_000},
                "in_flight": {"requests": 1, "prefill_tokens": 100, "decode_tokens": 10},
                "foreign": {"requests": 2, "prefill_tokens": 0, "decode_tokens": 20}, "unseen": 3, "index_blocks": 4})
        };
        let report = json!({"waiting": 7, "running": 8, "kv_usage": 0.25});
        let page = fleet(&json!({"endpoints": [row(true, report), row(false, Value::Null)]}));
        let rows: Vec<Vec<&str>> = page.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[0],
            ["default/a", "127.0.0.1:1", "EXACT", "7", "8", "25%", "1", "2", "100", "30", "3", "4", "42ms"]
        );
        assert_eq!(rows[1][2..6], ["GONE", "-", "-", "-"]);
    }

    #[test]
    fn untrusted_text_does_not_control_the_terminal() {
        let bad = "\u{1b}[2J\n\u{9b}1m";
        let card = json!({"zone": bad, "version": bad, "peer": bad});
        let peer = json!({"replica": bad, "member": {"card": card}, "stream": {"connected": true}});
        let endpoint = json!({"endpoint": {"id": bad, "address": bad}, "trust": bad});
        for page in [peers(&json!({"replica": bad, "peers": [peer]})), fleet(&json!({"endpoints": [endpoint]}))] {
            assert!(page.contains("\\u{1b}[2J") && page.chars().all(|c| c == '\n' || !c.is_control()), "{page:?}");
        }
    }

    #[test]
    fn a_peer_that_only_the_scheduler_remembers_is_lost() {
        let heard = json!({"upto": 9, "gaps": 0, "in_flight": {"requests": 1}, "quiet": {"secs": 12, "nanos": 0}});
        let peer = json!({"replica": "r1", "member": null, "stream": null, "heard": heard});
        let page = peers(&json!({"replica": "r0", "incarnation": 1, "sharing": true, "peers": [peer]}));
        assert!(
            page.lines().last().is_some_and(|line| line.starts_with("r1 ") && line.ends_with("12s  lost")),
            "{page}"
        );
    }
}
