//! The other clients: requests at a fixed rate, whether or not earlier ones have ended, and the time of each decision.
//!
//! Must not know hostile clients. A failed request of these clients ends the bench.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;

use crate::Failure;
use crate::ext_proc::exchange::{Plan, exchange};

/// Bytes of each request's body.
const BODY_BYTES: usize = 4 << 10;
/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(20);

/// A load that runs until it is dropped.
#[derive(Debug)]
pub(super) struct Others {
    account: Arc<Mutex<Account>>,
    _task: JoinSet<()>,
}

/// Outcomes of requests since the last [`Others::take`].
#[derive(Debug, Default)]
struct Account {
    decisions_ms: Vec<f64>,
    failed: Option<Failure>,
}

// === impl Others ===

impl Others {
    /// Starts `rate` requests per second, once the server is ready.
    pub(super) async fn begin(mut client: ExternalProcessorClient<Channel>, rate: u32) -> Result<Self, Failure> {
        let (plan, began) = (Plan::new(BODY_BYTES, 0, 1), Instant::now());
        while let Err(why) = exchange(&mut client, &plan, u64::MAX).await {
            if began.elapsed() > PATIENCE {
                return Err(format!("the server was not ready after {PATIENCE:?}: {why}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        let account = Arc::<Mutex<Account>>::default();
        let mut task = JoinSet::new();
        task.spawn(send(client, Duration::from_secs(1) / rate.max(1), account.clone()));
        Ok(Self { account, _task: task })
    }

    /// The time of each decision since the last call, in ms.
    ///
    /// # Errors
    /// The reason of the first failed request.
    pub(super) fn take(&self) -> Result<Vec<f64>, Failure> {
        let account = std::mem::take(&mut *lock(&self.account));
        match account.failed {
            Some(why) => Err(format!("a request of another client failed: {why}")),
            None => Ok(account.decisions_ms),
        }
    }
}

fn lock(account: &Mutex<Account>) -> std::sync::MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn send(client: ExternalProcessorClient<Channel>, every: Duration, account: Arc<Mutex<Account>>) {
    let plan = Arc::new(Plan::new(BODY_BYTES, 0, 1));
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        while open.try_join_next().is_some() {}
        let (mut client, plan, account) = (client.clone(), plan.clone(), account.clone());
        open.spawn(async move {
            let exchanged = exchange(&mut client, &plan, number).await;
            let mut account = lock(&account);
            match exchanged {
                Ok(decided) => account.decisions_ms.push(decided.as_secs_f64() * 1e3),
                Err(why) => drop(account.failed.get_or_insert(why)),
            }
        });
    }
}
