//! What a picker adds to a request through a real Envoy: time with one connection, processor time with many.
//!
//! One run measures all ways to the engines in turns: without a picker (`none`), with a server that does nothing
//! (`noop`), and with a replica. The replica is called in plain text like the no-op server (`ours`), and over TLS as in
//! a tier (`ours-tls`). Pickers see the answers (`stay`) or not (`leave`). This is a setting of Envoy, so there are two
//! Envoys; one is idle while the other is measured. A replica's figures include the polling of its four engines; a
//! column of its own shows this part, measured without requests.
//!
//! Must not know how Envoy is configured, or how a picker answers.

mod at_once;
mod at_rest;
pub(super) mod engines;
mod guarded;
mod one_by_one;
pub(super) mod stage;
pub(super) mod way;

use std::time::Duration;

use super::Failure;
use super::args::EnvoyArgs;
use super::spread::Spread;
use super::table::{Cell, Table};
use at_once::ProcessorTime;
use engines::Engines;
use murmuration_simulation::plan::ResponsePath;
use stage::Stage;
use way::{ClientRequest, Way};

/// The columns. Times are those of a whole request over one connection; `added` is the difference to the same quantile
/// of `none`. `picker_at_rest_core_ms` is the part of `picker_core_ms` that the picker would have used in the same time
/// without requests.
const COLUMNS: [&str; 12] = [
    "body_kb",
    "chunks",
    "picker",
    "response_path",
    "p50_ms",
    "p99_ms",
    "added_p50_ms",
    "added_p99_ms",
    "envoy_core_ms",
    "picker_core_ms",
    "picker_at_rest_core_ms",
    "requests",
];

/// Measures all ways in all cases.
pub(super) async fn run(args: &EnvoyArgs) -> Result<Table, Failure> {
    let engines = Engines::serve(Duration::from_secs_f64(args.token_ms / 1e3)).await?;
    let stay = Stage::set(ResponsePath::Stay, &engines.addresses, args.envoy.as_deref(), None).await?;
    let logs = stay.logs("leave");
    let leave = Stage::set(ResponsePath::Leave, &engines.addresses, args.envoy.as_deref(), Some(logs)).await?;
    let ways: Vec<Way> = std::iter::once(stay.past_pickers()?).chain(stay.ways()?).chain(leave.ways()?).collect();
    let measured = measure(args, &ways).await;
    stay.clear().await;
    leave.clear().await;
    measured
}

async fn measure(args: &EnvoyArgs, ways: &[Way]) -> Result<Table, Failure> {
    let mut table = Table::new("envoy", &COLUMNS).about("seconds", args.seconds).about("samples", args.samples);
    table = table.about("connections", args.connections).about("token_ms", args.token_ms);
    let mut client_request = ClientRequest::default();
    let at_rest = at_rest::cores(ways).await?;
    for &chunks in &args.chunks {
        for &kb in &args.bodies {
            client_request = ClientRequest { body_bytes: kb << 10, chunks, ..client_request };
            eprintln!(
                "bodies of {kb} KB, answers of {}",
                if chunks == 0 { "one piece".into() } else { format!("{chunks} chunks") }
            );
            // A streamed answer takes as long as its engine generates, so what a picker adds would not show.
            let times = if chunks == 0 {
                one_by_one::times(ways, &mut client_request, args.samples).await?
            } else {
                Vec::new()
            };
            let time = Duration::from_secs_f64(args.seconds);
            let paid = at_once::paid(ways, &mut client_request, args.connections, time).await?;
            rows(&mut table, &client_request, ways, &times, &paid, &at_rest);
        }
    }
    Ok(table)
}

fn rows(
    table: &mut Table,
    client_request: &ClientRequest,
    ways: &[Way],
    times: &[Spread],
    paid: &[ProcessorTime],
    at_rest: &[f64],
) {
    let floor = times.first().copied();
    for (i, ((way, paid), at_rest)) in ways.iter().zip(paid).zip(at_rest).enumerate() {
        let figure = |of_it: f64| way.picker_pid.map_or(Cell::Nothing, |_| Cell::Figure(of_it, 3));
        let time = |of: &dyn Fn(Spread, Spread) -> f64| {
            let both = times.get(i).copied().zip(floor);
            both.map_or(Cell::Nothing, |(here, floor)| Cell::Figure(of(here, floor), 3))
        };
        table.row(vec![
            Cell::Count((client_request.body_bytes >> 10) as u64),
            Cell::Count(client_request.chunks as u64),
            Cell::Word(way.picker.to_owned()),
            way.response_path.map_or(Cell::Nothing, |path| Cell::Word(path.to_owned())),
            time(&|here, _| here.p50),
            time(&|here, _| here.p99),
            time(&|here, floor| here.p50 - floor.p50),
            time(&|here, floor| here.p99 - floor.p99),
            Cell::Figure(paid.envoy_core_ms(), 3),
            figure(paid.picker_core_ms()),
            figure(paid.core_ms_of(*at_rest)),
            Cell::Count(paid.requests),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(picker: &'static str, pid: Option<u32>) -> Way {
        Way::new(picker, pid.map(|_| "stay"), ([127, 0, 0, 1], 1).into(), 1, pid)
    }

    #[test]
    fn what_was_not_measured_is_shown_as_nothing_and_never_as_zero() {
        let ways = [way("none", None), way("noop", Some(2))];
        let paid = [ProcessorTime::default(), ProcessorTime::default()];
        let mut table = Table::new("envoy", &COLUMNS);
        rows(&mut table, &ClientRequest::default(), &ways, &[], &paid, &[0.0; 2]);
        let text = table.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["0", "0", "none", "-", "-", "-", "-", "-", "0.000", "-", "-", "0"]);
        assert_eq!(lines[2], ["0", "0", "noop", "stay", "-", "-", "-", "-", "0.000", "0.000", "0.000", "0"]);
    }

    #[test]
    fn what_a_picker_adds_is_the_difference_to_the_way_without_one() {
        let ways = [way("none", None), way("noop", Some(2))];
        let paid = [ProcessorTime::default(), ProcessorTime::default()];
        let times = [Spread { p50: 1.0, p99: 2.0, mean: 1.0 }, Spread { p50: 1.25, p99: 2.5, mean: 1.0 }];
        let mut table = Table::new("envoy", &COLUMNS);
        rows(&mut table, &ClientRequest::default(), &ways, &times, &paid, &[0.0; 2]);
        let text = table.to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1][4..8], ["1.000", "2.000", "0.000", "0.000"]);
        assert_eq!(lines[2][4..8], ["1.250", "2.500", "0.250", "0.500"]);
    }
}
