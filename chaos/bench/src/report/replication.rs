//! The table of replication: what replicas that share cost and how fast they know, with bars for both ways.

use serde_json::Value;

use super::super::Failure;
use super::document::Row;
use super::json::{self, number};
use super::runs;

/// The table's name on the page.
pub(super) const TABLE: &str = "replication";

/// The bars of one way: ages in ms, Mbit/s of a replica, percent of a core.
struct Bars {
    in_flight_ms: f64,
    placement_ms: f64,
    load_ms: f64,
    mbit: f64,
    sharing_pct: f64,
}

const STREAMS: Bars = Bars { in_flight_ms: 15.0, placement_ms: 50.0, load_ms: 100.0, mbit: 3.0, sharing_pct: 3.0 };
const GOSSIP: Bars = Bars { in_flight_ms: 100.0, placement_ms: 200.0, load_ms: 150.0, mbit: 4.0, sharing_pct: 10.0 };
/// Seconds until a dead peer's work is gone, until its engines are scraped, and until a joiner is ready.
const DEATH_S: [f64; 3] = [2.0, 2.0, 5.0];
/// How much the scrapes of an engine may differ from those by one replica alone, per second.
const SCRAPES_DIFFER_MAX: f64 = 0.5;

/// The rows of bars, as the page has them.
#[cfg(test)]
pub(super) fn bars() -> [String; 2] {
    [("streams and gossip", STREAMS), ("gossip alone", GOSSIP)].map(|(way, bars)| {
        let Bars { in_flight_ms, placement_ms, load_ms, mbit, sharing_pct } = bars;
        format!("| {way} | {in_flight_ms} ms | {placement_ms} ms | {load_ms} ms | {mbit} Mbit/s | {sharing_pct} % |")
    })
}

/// Measures all cases.
pub(super) fn rows(short: bool) -> Result<Vec<Row>, Failure> {
    let few =
        ["--replicas", "3", "--endpoints", "40", "--rate", "100", "--seconds", "3", "--probes", "20", "--deaths", "1"];
    let arguments: Vec<&str> = std::iter::once("replication").chain(few.into_iter().filter(|_| short)).collect();
    rows_of(&runs::bench(&arguments)?)
}

/// The rows in the JSON of `bench replication`.
pub(super) fn rows_of(report: &Value) -> Result<Vec<Row>, Failure> {
    let alone = json::row(report, &[("replicas", 1.into())])?;
    let scrapes = number(alone, "scrapes_per_engine")?;
    let mut rows = vec![only_scrapes(scrapes)];
    for row in json::rows(report)? {
        match row["lanes"].as_str() {
            Some("streams") => rows.push(case(row, "streams and gossip", &STREAMS, scrapes)?),
            Some("gossip") => rows.push(case(row, "gossip alone", &GOSSIP, scrapes)?),
            _ => {}
        }
    }
    Ok(rows)
}

fn only_scrapes(scrapes: f64) -> Row {
    let mut row = vec![String::new(); 9];
    (row[0], row[6]) = ("1".to_owned(), format!("{scrapes:.1}/s"));
    row
}

fn case(row: &Value, way: &str, bars: &Bars, scrapes_alone: f64) -> Result<Row, Failure> {
    let of = |column| number(row, column);
    let mut missed: Vec<&str> = Vec::new();
    let mut cell = |what: &'static str, shown: String, met: bool| {
        if met {
            return shown;
        }
        missed.push(what);
        format!("**{shown}**")
    };
    let ms = |ms: f64| format!("{ms:.1} ms");
    let (in_flight, placement, load) = (of("in_flight_p99_ms")?, of("placement_p99_ms")?, of("load_p99_ms")?);
    let (streams, gossip) = (of("stream_mbit")?, of("gossip_mbit")?);
    let wire = if streams > 0.0 { format!("{streams:.2} + {gossip:.2} Mbit/s") } else { format!("{gossip:.2} Mbit/s") };
    let (sharing, scrapes) = (of("sharing_cpu_pct")?, of("scrapes_per_engine")?);
    let deaths = [of("clean_s")?, of("successor_s")?, of("ready_s")?];
    let cells = vec![
        format!("{}, {way}", of("replicas")?),
        cell("in-flight", ms(in_flight), in_flight <= bars.in_flight_ms),
        cell("placement", ms(placement), placement <= bars.placement_ms),
        cell("load", ms(load), load <= bars.load_ms),
        cell("wire", wire, streams + gossip <= bars.mbit),
        cell("sharing", format!("{sharing:.1} %"), sharing <= bars.sharing_pct),
        cell("scrapes", format!("{scrapes:.1}/s"), (scrapes - scrapes_alone).abs() <= SCRAPES_DIFFER_MAX),
        cell(
            "deaths",
            format!("{:.2} / {:.2} / {:.2} s", deaths[0], deaths[1], deaths[2]),
            deaths.iter().zip(DEATH_S).all(|(measured, bar)| *measured <= bar),
        ),
    ];
    let met = if missed.is_empty() { json::met(true) } else { format!("{}: {}", json::met(false), missed.join(", ")) };
    Ok(cells.into_iter().chain([met]).collect())
}
