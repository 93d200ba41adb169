//! One replica under four kinds of hostile clients at once, while other clients continue. Measures its memory, the size
//! of its metrics page, and the decision times of the other clients. Clients of each kind have a connection of their
//! own, as behind a gateway that serves them with different workers.
//!
//! Must not know how a replica defends itself.

mod attack;

use std::time::Duration;

use murmuration_actors::admin::client;
use murmuration_kit::machine::peak_memory_kib;
use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use super::Failure;
use super::args::HostileArgs;
use super::ext_proc::exchange::{Plan, exchange};
use super::ext_proc::paced::Paced;
use super::pages::Pages;
use super::server::{Server, connect};
use super::spread::Spread;
use super::table::{Cell, Table};
use attack::Tally;

/// Engines of the pool.
const ENGINES: u16 = 4;
/// Bytes of the body of each request of the other clients.
const BODY_BYTES: usize = 4 << 10;
/// The number of the request that finds out whether the server is ready; those of the load stay below it.
const FIRST: u64 = 1 << 40;
/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);
/// Interval of reading the metrics page; short for a monitor.
const SCRAPE: Duration = Duration::from_secs(5);
const COLUMNS: [&str; 10] = [
    "clients",
    "decisions",
    "decision_p50_ms",
    "decision_p99_ms",
    "decision_max_ms",
    "rss_peak_mib",
    "metrics_page_kib",
    "hostile_refused",
    "hostile_served",
    "hostile_cut",
];

/// Measures without and then with hostile clients.
pub(super) async fn run(args: &HostileArgs) -> Result<Table, Failure> {
    let pages = Pages::serve(ENGINES, None).await?;
    let server = Server::replica(&pages.addresses, &[]).await?;
    let mut table = Table::new("hostile", &COLUMNS).about("seconds", args.seconds).about("rate", args.rate);
    table = table.about("names", args.names).about("labels_per_s", args.labels);
    table = table.about("values", args.values).about("slow", args.slow);
    let tally = Tally::default();
    let client = connect(server.ext_proc).await?;
    serves(client.clone()).await?;
    let others = Paced::start(vec![client], plan(), args.rate);
    for (clients, hostile) in [("quiet", false), ("hostile", true)] {
        let mut attacks = JoinSet::new();
        if hostile {
            attack::begin(args, server.ext_proc, &tally, &mut attacks).await?;
        }
        decisions(&others)?;
        let page = largest_page(&server, Duration::from_secs_f64(args.seconds)).await?;
        attacks.abort_all();
        table.row(row(clients, decisions(&others)?, peak_memory_kib(server.pid)?, page, &tally));
    }
    Ok(table)
}

/// The other clients' requests.
fn plan() -> Plan {
    Plan::new(BODY_BYTES, 0, 1)
}

/// Waits until the server is ready.
async fn serves(mut client: ExternalProcessorClient<Channel>) -> Result<(), Failure> {
    let (plan, began) = (plan(), Instant::now());
    while let Err(why) = exchange(&mut client, &plan, FIRST).await {
        if began.elapsed() > PATIENCE {
            return Err(format!("the server was not ready after {PATIENCE:?}: {why}"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The time of each decision for the other clients since the last call, in ms. None of their requests may fail.
fn decisions(others: &Paced) -> Result<Vec<f64>, Failure> {
    let account = others.take();
    match account.why {
        Some(why) => Err(format!("a request of another client failed: {why}")),
        None if account.left_out > 0 => Err(format!("{} requests of other clients were not sent", account.left_out)),
        None => Ok(account.decisions_ms),
    }
}

fn row(clients: &str, decisions: Vec<f64>, peak_kib: u64, page: usize, tally: &Tally) -> Vec<Cell> {
    let (count, longest) = (decisions.len(), decisions.iter().copied().fold(0.0, f64::max));
    let spread = Spread::of(decisions);
    let [refused, served, cut] = tally.told();
    vec![
        Cell::Word(clients.to_owned()),
        Cell::Count(count as u64),
        Cell::Figure(spread.p50, 1),
        Cell::Figure(spread.p99, 1),
        Cell::Figure(longest, 1),
        Cell::Figure(peak_kib as f64 / 1024.0, 0),
        Cell::Figure(page as f64 / 1024.0, 0),
        Cell::Count(refused),
        Cell::Count(served),
        Cell::Count(cut),
    ]
}

/// Waits for `time`, and returns the bytes of the largest metrics page in it.
async fn largest_page(server: &Server, time: Duration) -> Result<usize, Failure> {
    let admin = server.admin.ok_or("the replica did not report where its metrics page is")?;
    let until = Instant::now() + time;
    let mut largest = 0;
    while Instant::now() < until {
        sleep(SCRAPE.min(until - Instant::now())).await;
        let (status, page) = client::fetch(admin, "/metrics").await?;
        if !status.is_success() {
            return Err("the metrics page is not served".to_owned());
        }
        largest = largest.max(page.len());
    }
    Ok(largest)
}
