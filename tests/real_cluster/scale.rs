//! A pool of many pods (`PODS`, none by default): what one replica needs for it, and how fast it follows. The figures are
//! printed, and judged by whoever asked for them.
//!
//! Must not know other parts of the test.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::api_server::{ApiServer, EPP};
use crate::objects::Cluster;
use crate::processes::ReplicaProcess;
use crate::until;

const POOL: &str = "many";
/// How long the CPU time at rest is measured.
const REST: Duration = Duration::from_secs(20);

pub(crate) async fn run(cluster: &Cluster, server: &ApiServer) {
    let Some(count) = std::env::var("PODS").ok().and_then(|text| text.parse::<usize>().ok()) else { return };
    cluster.put_pool_called(POOL, POOL, &[9]).await;
    for number in 0..count {
        let ip = format!("127.9.{}.{}", number / 200, number % 200 + 1);
        cluster.create_pod(&format!("many-{number}"), POOL, &ip, true).await;
    }
    // Engines that answer nothing are scraped once an hour, so that what is measured is watching.
    let flags = ["--pool-name", POOL, "--refresh-metrics-interval", "3600s"];
    let began = Instant::now();
    let replica = ReplicaProcess::start_with(&flags, &server.kubeconfig(EPP));
    let known = || async { replica.endpoints().await.is_some_and(|known| known.len() == count) };
    until("many pods known", known).await;
    println!("{count} pods: all known {} ms after the start", began.elapsed().as_millis());
    sleep(Duration::from_secs(5)).await;
    println!("{count} pods: {} MB resident", replica.resident_bytes() >> 20);
    let before = replica.cpu_seconds();
    sleep(REST).await;
    let used = replica.cpu_seconds() - before;
    println!("{count} pods: {:.2} % of a core at rest", used / REST.as_secs_f64() * 100.0);
    let gone = || async { replica.endpoints().await.is_some_and(|known| known.len() == count - 1) };
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        cluster.set_ready("many-7", false).await;
        until("one is not Ready", gone).await;
        let began = Instant::now();
        cluster.set_ready("many-7", true).await;
        while !known().await {
            sleep(Duration::from_millis(1)).await;
        }
        slowest = slowest.max(began.elapsed());
    }
    println!("{count} pods: Ready to routable {} ms, the slowest of 10", slowest.as_millis());
    println!("{count} pods: {} MB resident at the end", replica.resident_bytes() >> 20);
    replica.stop().await;
}
