//! Everybody else: so many requests a second, whatever becomes of those before, and how long each decision took.
//!
//! Must not know who is hostile. One of these that goes wrong ends the bench.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::transport::Channel;

use crate::bench::Failure;
use crate::bench::ext_proc::talk::{Plan, talk};

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

/// What became of requests since it was taken last.
#[derive(Debug, Default)]
struct Account {
    decisions_ms: Vec<f64>,
    failed: Option<Failure>,
}

// === impl Others ===

impl Others {
    /// Begins `rate` requests a second, once the server is ready for them.
    pub(super) async fn begin(mut client: ExternalProcessorClient<Channel>, rate: u32) -> Result<Self, Failure> {
        let (plan, began) = (Plan::new(BODY_BYTES, 0, 1), Instant::now());
        while let Err(why) = talk(&mut client, &plan, u64::MAX).await {
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

    /// How long each decision took since this was asked last, in ms.
    ///
    /// # Errors
    /// When one went wrong: why.
    pub(super) fn take(&self) -> Result<Vec<f64>, Failure> {
        let account = std::mem::take(&mut *lock(&self.account));
        match account.failed {
            Some(why) => Err(format!("a request of somebody else went wrong: {why}")),
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
            let talked = talk(&mut client, &plan, number).await;
            let mut account = lock(&account);
            match talked {
                Ok(decided) => account.decisions_ms.push(decided.as_secs_f64() * 1e3),
                Err(why) => drop(account.failed.get_or_insert(why)),
            }
        });
    }
}
