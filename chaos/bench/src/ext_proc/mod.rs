//! The processor time of an ext-proc server per request, compared with a server that does nothing.
//!
//! Streams share one connection, as those of one Envoy worker do, and a new one opens as soon as one ends. The figure
//! is the server's own processor time divided by the requests that ended in that time.
//!
//! Must not know how a server reads or decides.

pub(super) mod exchange;
mod load;
pub(super) mod message;
pub(super) mod paced;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::Failure;
use super::args::ExtProcArgs;
use super::pages::Pages;
use super::server::Server;
use super::spread::Spread;
use super::table::{Cell, Table};
use exchange::Plan;
use load::{Load, Measured};

/// Engines of the pool; they are polled seldom, so that polling adds little to a request's cost.
const ENGINES: u16 = 4;
const INTERVAL: &str = "--refresh-metrics-interval=250ms";

/// Rounds of a measurement.
const ROUNDS: u32 = 4;

/// The servers that are measured, the floor first.
const SERVERS: [&str; 3] = ["noop", "stay", "leave"];

/// Measures all cases on all servers.
pub(super) async fn run(args: &ExtProcArgs) -> Result<Table, Failure> {
    let pages = Pages::serve(ENGINES, None).await?;
    let path = |path: &str| [INTERVAL.to_owned(), format!("--response-path={path}")];
    let servers = [
        Server::noop().await?,
        Server::replica(&pages.addresses, &path("stay")).await?,
        Server::replica(&pages.addresses, &path("leave")).await?,
    ];
    let columns = ["body_kb", "chunks", "server", "core_ms_per_request", "ratio", "requests", "stream_p50_ms"];
    let mut table = Table::new("ext-proc", &columns).about("seconds", args.seconds).about("streams", args.streams);
    table = table.about("window", args.window);
    let next: Arc<AtomicU64> = Arc::default();
    let time = Duration::from_secs_f64(args.seconds);
    for &chunks in &args.chunks {
        for &kb in &args.bodies {
            let plan = Plan::new(kb << 10, chunks, args.window);
            let mut measured = Vec::new();
            let mut loads = Vec::new();
            for server in &servers {
                let load = Load::open(server.ext_proc, plan.clone(), args.streams, next.clone()).await?;
                load.run(time / 2, server).await?;
                measured.push(Measured::default());
                loads.push(load);
            }
            // In turns, so that other load on the machine affects all of them.
            for _ in 0..ROUNDS {
                for ((load, server), measured) in loads.iter().zip(&servers).zip(&mut measured) {
                    measured.add(load.run(time / ROUNDS, server).await?);
                }
            }
            let floor = measured[0].core_ms();
            for (name, measured) in SERVERS.into_iter().zip(&measured) {
                table.row(row(kb, chunks, name, measured, measured.core_ms() / floor));
            }
        }
    }
    Ok(table)
}

fn row(kb: usize, chunks: usize, name: &str, measured: &Measured, ratio: f64) -> Vec<Cell> {
    vec![
        Cell::Count(kb as u64),
        Cell::Count(chunks as u64),
        Cell::Word(name.to_owned()),
        Cell::Figure(measured.core_ms(), 3),
        Cell::Figure(ratio, 2),
        Cell::Count(measured.spans_ms.len() as u64),
        Cell::Figure(Spread::of(measured.spans_ms.clone()).p50, 2),
    ]
}
