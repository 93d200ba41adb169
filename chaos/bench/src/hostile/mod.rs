//! One replica under four kinds of hostile clients at once, while other clients continue. Measures its memory, the size
//! of its metrics page, and the decision times of the other clients. Clients of each kind have a connection of their
//! own, as behind a gateway that serves them with different workers.
//!
//! Must not know how a replica defends itself.

mod attack;
mod others;

use std::net::SocketAddr;
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

use super::Failure;
use super::args::HostileArgs;
use super::pages::Pages;
use super::server::Server;
use super::spread::Spread;
use super::table::{Cell, Table};
use attack::Tally;
use others::Others;

/// Engines of the pool.
const ENGINES: u16 = 4;
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
    let others = Others::begin(connect(server.ext_proc).await?, args.rate).await?;
    for (clients, hostile) in [("quiet", false), ("hostile", true)] {
        let mut attacks = JoinSet::new();
        if hostile {
            attack::begin(args, server.ext_proc, &tally, &mut attacks).await?;
        }
        others.take()?;
        let page = largest_page(&server, Duration::from_secs_f64(args.seconds)).await?;
        attacks.abort_all();
        table.row(row(clients, others.take()?, peak(server.pid)?, page, &tally));
    }
    Ok(table)
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
    let until = tokio::time::Instant::now() + time;
    let mut largest = 0;
    while tokio::time::Instant::now() < until {
        sleep(SCRAPE.min(until - tokio::time::Instant::now())).await;
        largest = largest.max(page(admin).await?);
    }
    Ok(largest)
}

async fn page(admin: SocketAddr) -> Result<usize, Failure> {
    let cant = |why| format!("can't read the metrics page at {admin}: {why}");
    let mut stream = TcpStream::connect(admin).await.map_err(cant)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").await.map_err(cant)?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).await.map_err(cant)?;
    if page.starts_with(b"HTTP/1.1 200") { Ok(page.len()) } else { Err("the metrics page is not served".to_owned()) }
}

/// The most memory that the process ever held, in KiB.
fn peak(pid: u32) -> Result<u64, Failure> {
    let path = format!("/proc/{pid}/status");
    let status =
        std::fs::read_to_string(&path).map_err(|why| format!("can't read {path}: {why}; did the server end?"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    peak.ok_or_else(|| format!("{path} is not what proc(5) says"))
}

async fn connect(server: SocketAddr) -> Result<ExternalProcessorClient<Channel>, Failure> {
    let cant = |why: tonic::transport::Error| format!("can't connect to the server at {server}: {why}");
    let channel = Endpoint::try_from(format!("http://{server}")).map_err(cant)?.tcp_nodelay(true);
    Ok(ExternalProcessorClient::new(channel.connect().await.map_err(cant)?))
}
