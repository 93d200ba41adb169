//! The processor time of Envoy and the picker per request, with many requests open at once.
//!
//! Must not know which picker a way has. Each connection sends its next request when it has the answer to the last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::way::{ClientRequest, Way};
use murmuration_kit::machine::cpu_used;

use crate::Failure;

/// Rounds of a measurement.
const ROUNDS: u32 = 4;

/// Processor time, and the requests that used it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProcessorTime {
    envoy: Duration,
    picker: Duration,
    took: Duration,
    /// Requests that were answered.
    pub(super) requests: u64,
}

/// Measures what each way's requests cost, for `time` after a warm-up of half as long.
pub(super) async fn paid(
    ways: &[Way],
    client_request: &mut ClientRequest,
    connections: usize,
    time: Duration,
) -> Result<Vec<ProcessorTime>, Failure> {
    let mut paid = vec![ProcessorTime::default(); ways.len()];
    for way in ways {
        run(way, client_request, connections, time / 2).await?;
    }
    // In turns, so that other load on the machine affects all of them.
    for _ in 0..ROUNDS {
        for (way, paid) in ways.iter().zip(&mut paid) {
            paid.add(run(way, client_request, connections, time / ROUNDS).await?);
        }
    }
    Ok(paid)
}

/// Keeps the connections busy for `time`, and waits for the last answers.
async fn run(
    way: &Way,
    client_request: &mut ClientRequest,
    connections: usize,
    time: Duration,
) -> Result<ProcessorTime, Failure> {
    let next = Arc::new(AtomicU64::new(client_request.next));
    let (envoy, picker) = used(way)?;
    let began = Instant::now();
    let until = began + time;
    let mut tasks = JoinSet::new();
    for _ in 0..connections.max(1) {
        let (way, client_request, next) = (way.clone(), *client_request, next.clone());
        tasks.spawn(async move {
            let mut requests = 0;
            while Instant::now() < until {
                way.ask(client_request.body(next.fetch_add(1, Ordering::Relaxed)), client_request.chunks).await?;
                requests += 1;
            }
            Ok::<u64, Failure>(requests)
        });
    }
    let mut requests = 0;
    while let Some(ended) = tasks.join_next().await {
        requests += ended.map_err(|why| format!("a connection's task ended: {why}"))??;
    }
    client_request.next = next.load(Ordering::Relaxed);
    let (envoy_then, picker_then) = used(way)?;
    Ok(ProcessorTime { envoy: envoy_then - envoy, picker: picker_then - picker, took: began.elapsed(), requests })
}

/// Processor time that Envoy and the picker used so far.
fn used(way: &Way) -> Result<(Duration, Duration), Failure> {
    Ok((cpu_used(way.envoy_pid)?, way.picker_pid.map_or(Ok(Duration::ZERO), cpu_used)?))
}

// === impl ProcessorTime ===

impl ProcessorTime {
    /// Processor time of Envoy for each request, in ms.
    pub(super) fn envoy_core_ms(&self) -> f64 {
        self.envoy.as_secs_f64() * 1e3 / self.requests.max(1) as f64
    }

    /// Processor time of the picker for each request, in ms.
    pub(super) fn picker_core_ms(&self) -> f64 {
        self.picker.as_secs_f64() * 1e3 / self.requests.max(1) as f64
    }

    /// Processor time for each request of a process that uses this share of a core, in ms.
    pub(super) fn core_ms_of(&self, cores: f64) -> f64 {
        cores * self.took.as_secs_f64() * 1e3 / self.requests.max(1) as f64
    }

    fn add(&mut self, other: Self) {
        self.envoy += other.envoy;
        self.picker += other.picker;
        self.took += other.took;
        self.requests += other.requests;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_shared_by_the_requests_of_all_rounds() {
        let ms = Duration::from_millis;
        let mut paid = ProcessorTime { envoy: ms(30), picker: ms(10), took: ms(1000), requests: 10 };
        paid.add(ProcessorTime { envoy: ms(10), picker: ms(30), took: ms(1000), requests: 30 });
        assert_eq!((paid.envoy_core_ms(), paid.picker_core_ms(), paid.core_ms_of(0.01)), (1.0, 1.0, 0.5));
    }
}
