//! Sends requests at a fixed rate, spread evenly over the replicas, whether or not earlier ones have ended.
//!
//! Must not know what the replicas share. Failed requests are counted, and the first reason is kept: the bench decides
//! whether they may fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::{Channel, Endpoint};

use crate::Failure;
use crate::ext_proc::exchange::{Plan, exchange};

/// Bytes of each request's body: about a thousand tokens, a quarter of them shared by all.
const BODY_BYTES: usize = 4 << 10;
/// How long the engine works on each.
const HELD: Duration = Duration::from_millis(200);
/// The most requests open at once; beyond it the bench would measure the machine.
const OPEN_MAX: usize = 4_096;

/// A load that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Load {
    account: Arc<Account>,
    _task: JoinSet<()>,
}

/// What became of requests.
#[derive(Debug, Default)]
struct Account {
    sent: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
    left_out: AtomicU64,
    why: Mutex<Option<Failure>>,
}

/// What became of requests so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// That ended in order.
    pub(super) well: u64,
    /// That went wrong.
    pub(super) failed: u64,
    /// That were due and not sent, because too many were open.
    pub(super) left_out: u64,
}

// === impl Load ===

impl Load {
    /// Starts `rate` requests per second to `replicas`.
    pub(super) fn start(replicas: &[SocketAddr], rate: u32) -> Result<Self, Failure> {
        let clients = replicas.iter().map(client).collect::<Result<Vec<_>, _>>()?;
        let account = Arc::<Account>::default();
        let mut task = JoinSet::new();
        task.spawn(send(clients, Duration::from_secs(1) / rate.max(1), account.clone()));
        Ok(Self { account, _task: task })
    }

    /// What became of them so far.
    pub(super) fn ended(&self) -> Ended {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let account = &self.account;
        Ended { well: of(&account.ended), failed: of(&account.failed), left_out: of(&account.left_out) }
    }

    /// The first failure, when there was one.
    pub(super) fn why(&self) -> Option<Failure> {
        self.account.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn client(replica: &SocketAddr) -> Result<ExternalProcessorClient<Channel>, Failure> {
    let endpoint = Endpoint::try_from(format!("http://{replica}")).map_err(|why| why.to_string())?;
    let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
    // Lazy, so that it reconnects to a replica that was away.
    let channel = endpoint.tcp_nodelay(true).connect_lazy();
    Ok(ExternalProcessorClient::new(channel).max_decoding_message_size(usize::MAX))
}

async fn send(clients: Vec<ExternalProcessorClient<Channel>>, every: Duration, account: Arc<Account>) {
    let plan = Arc::new(Plan::new(BODY_BYTES, 0, 1).held(HELD));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = JoinSet::new();
    loop {
        ticks.tick().await;
        while open.try_join_next().is_some() {}
        if open.len() >= OPEN_MAX {
            account.left_out.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let number = account.sent.fetch_add(1, Ordering::Relaxed);
        let Some(client) = clients.get(number as usize % clients.len().max(1)) else { return };
        let (mut client, plan, account) = (client.clone(), plan.clone(), account.clone());
        open.spawn(async move {
            match exchange(&mut client, &plan, number).await {
                Ok(_) => account.ended.fetch_add(1, Ordering::Relaxed),
                Err(failure) => {
                    account.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
                    account.failed.fetch_add(1, Ordering::Relaxed)
                }
            };
        });
    }
}
