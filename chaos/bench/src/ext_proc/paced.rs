//! Requests at a fixed rate, spread evenly over some servers, whether or not earlier ones have ended.
//!
//! Must not know what the servers share. Failed requests are counted, and the first reason is kept: the bench decides
//! whether they may fail.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use murmuration_proto::ext_proc::ExternalProcessorClient;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Channel;

use super::exchange::{Plan, exchange};
use crate::Failure;

/// The most requests open at once; beyond it the bench would measure the machine.
const OPEN_MAX: u64 = 4_096;

/// A load that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Paced {
    account: Arc<Mutex<Account>>,
    _task: JoinSet<()>,
}

/// What became of requests since the last [`Paced::take`].
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// The time of each decision of those that ended in order, in ms.
    pub(crate) decisions_ms: Vec<f64>,
    /// How many went wrong.
    pub(crate) failed: u64,
    /// How many were due and not sent, because too many were open.
    pub(crate) left_out: u64,
    /// The first failure.
    pub(crate) why: Option<Failure>,
    open: u64,
}

// === impl Paced ===

impl Paced {
    /// Starts `rate` requests per second to the servers of `clients`, in turn.
    pub(crate) fn start(clients: Vec<ExternalProcessorClient<Channel>>, plan: Plan, rate: u32) -> Self {
        let (account, plan) = (Arc::<Mutex<Account>>::default(), Arc::new(plan));
        let (mut task, counted) = (JoinSet::new(), account.clone());
        task.spawn(at_rate(rate, move |number| {
            let client = clients.get(number as usize % clients.len().max(1)).cloned();
            send(client, plan.clone(), number, counted.clone())
        }));
        Self { account, _task: task }
    }

    /// What became of requests since the last call.
    pub(crate) fn take(&self) -> Account {
        let mut account = lock(&self.account);
        let open = account.open;
        std::mem::replace(&mut account, Account { open, ..Account::default() })
    }
}

async fn send(
    client: Option<ExternalProcessorClient<Channel>>,
    plan: Arc<Plan>,
    number: u64,
    account: Arc<Mutex<Account>>,
) {
    let Some(mut client) = client else { return };
    {
        let mut account = lock(&account);
        if account.open >= OPEN_MAX {
            account.left_out += 1;
            return;
        }
        account.open += 1;
    }
    let exchanged = exchange(&mut client, &plan, number).await;
    let mut account = lock(&account);
    account.open -= 1;
    match exchanged {
        Ok(decided) => account.decisions_ms.push(decided.as_secs_f64() * 1e3),
        Err(why) => {
            account.failed += 1;
            account.why.get_or_insert(why);
        }
    }
}

fn lock(account: &Mutex<Account>) -> MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts `request` `rate` times per second, whether or not earlier ones have ended. Runs until it is dropped, which
/// also ends all requests.
pub(crate) async fn at_rate<R>(rate: u32, mut request: impl FnMut(u64) -> R)
where
    R: Future<Output = ()> + Send + 'static,
{
    let mut ticks = interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = JoinSet::new();
    for number in 0.. {
        ticks.tick().await;
        while open.try_join_next().is_some() {}
        open.spawn(request(number));
    }
}
