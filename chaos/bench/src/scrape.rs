//! What it costs a replica to poll the metrics pages of many engines, without requests.
//!
//! Must not know how a page is fetched or read.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Failure;
use super::args::ScrapeArgs;
use super::pages::Pages;
use super::server::Server;
use super::table::{Cell, Table};

/// After this time, connections are open and buffers have grown.
const WARM_UP: Duration = Duration::from_secs(2);

/// Measures one replica.
pub(super) async fn run(args: &ScrapeArgs) -> Result<Table, Failure> {
    let pages = Pages::serve(args.endpoints, args.page.as_deref()).await?;
    let flags = [format!("--refresh-metrics-interval={}ms", args.interval)];
    let replica = Server::replica(&pages.addresses, &flags).await?;
    sleep(WARM_UP).await;
    let (began, served, cpu) = (Instant::now(), pages.served(), replica.cpu()?);
    sleep(Duration::from_secs_f64(args.seconds)).await;
    let (took, served) = (began.elapsed().as_secs_f64(), pages.served() - served);
    let cpu = (replica.cpu()? - cpu).as_secs_f64();
    if served == 0 {
        return Err("the replica fetched no page at all".to_owned());
    }
    let wanted = f64::from(args.endpoints) * 1000.0 / args.interval.max(1) as f64;
    let columns = ["endpoints", "page_bytes", "wanted_pages_per_s", "pages_per_s", "core_ms_per_page", "cores"];
    let mut table = Table::new("scrape", &columns).about("seconds", args.seconds).about("interval_ms", args.interval);
    table.row(vec![
        Cell::Count(u64::from(args.endpoints)),
        Cell::Count(pages.bytes as u64),
        Cell::Figure(wanted, 0),
        Cell::Figure(served as f64 / took, 0),
        Cell::Figure(cpu * 1e3 / served as f64, 4),
        Cell::Figure(cpu / took, 3),
    ]);
    Ok(table)
}
