//! Keeps a number of streams open for a time, and measures the processor time that the server used for them.
//!
//! Must not know the messages of a stream.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use super::exchange::{Plan, exchange};
use crate::Failure;
use crate::server::Server;

/// A client that keeps `streams` streams open over one connection.
pub(super) struct Load {
    client: ExternalProcessorClient<Channel>,
    plan: Arc<Plan>,
    streams: usize,
    /// Numbers the requests of a whole run, so that each prompt is new.
    next: Arc<AtomicU64>,
}

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Processor time of the server.
    cpu: Duration,
    /// How long each stream was open, in ms.
    pub(super) spans_ms: Vec<f64>,
}

// === impl Load ===

impl Load {
    /// Connects to `server`; its requests are numbered by `next`.
    pub(super) async fn open(
        server: SocketAddr,
        plan: Plan,
        streams: usize,
        next: Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let cant = |why: tonic::transport::Error| format!("can't connect to the server at {server}: {why}");
        // One body would fill the windows that Envoy offers by default.
        let endpoint = Endpoint::try_from(format!("http://{server}")).map_err(cant)?;
        let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
        let channel = endpoint.tcp_nodelay(true).connect().await.map_err(cant)?;
        let client = ExternalProcessorClient::new(channel).max_decoding_message_size(usize::MAX);
        Ok(Self { client, plan: Arc::new(plan), streams, next })
    }

    /// Keeps the streams busy for `time`, and waits for the last ones to end.
    pub(super) async fn run(&self, time: Duration, server: &Server) -> Result<Measured, Failure> {
        let cpu = server.cpu()?;
        let until = Instant::now() + time;
        let mut streams = JoinSet::new();
        for _ in 0..self.streams.max(1) {
            let (mut client, plan, next) = (self.client.clone(), self.plan.clone(), self.next.clone());
            streams.spawn(async move {
                let mut spans = Vec::new();
                while Instant::now() < until {
                    let began = Instant::now();
                    exchange(&mut client, &plan, next.fetch_add(1, Ordering::Relaxed)).await?;
                    spans.push(began.elapsed().as_secs_f64() * 1e3);
                }
                Ok::<_, Failure>(spans)
            });
        }
        let mut spans_ms = Vec::new();
        while let Some(ended) = streams.join_next().await {
            spans_ms.extend(ended.map_err(|why| format!("a stream's task ended: {why}"))??);
        }
        Ok(Measured { cpu: server.cpu()? - cpu, spans_ms })
    }
}

// === impl Measured ===

impl Measured {
    /// Adds another measurement.
    pub(super) fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.spans_ms.extend(other.spans_ms);
    }

    /// Processor time for each request, in ms.
    pub(super) fn core_ms(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3 / self.spans_ms.len().max(1) as f64
    }
}
