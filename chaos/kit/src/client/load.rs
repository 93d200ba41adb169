//! An open-loop load: each request is sent when it is due, whatever became of earlier ones.
//!
//! Must not know what is asked or why. A closed loop would send less to a slow tier, and so hide that it is slow.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::pool::Client;
use super::stream::EventStream;
use super::tally::{Cause, Success, Tally, Usage};
use super::{Answer, ClientError, ENGINE_NAME};

/// Most bytes of an answer's body that an error message shows.
const SHOWN_BYTES_MAX: usize = 200;

/// One request.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The path.
    pub path: String,
    /// The body, JSON.
    pub body: Bytes,
    /// Headers besides `host` and `content-type`.
    pub headers: Vec<(String, String)>,
    /// Whether the answer is streamed.
    pub streamed: bool,
    /// After how many events of a streamed answer the client disconnects; `None` if it stays.
    pub leaves_after: Option<usize>,
}

/// How many requests are sent, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests in a second; more than 0.
    pub rate: f64,
    /// For how long requests are sent. Those that are open at its end are awaited.
    pub duration: Duration,
    /// Most requests open at once. A request that is due beyond them is not sent, and is counted as [`Cause::NotSent`].
    pub outstanding_max: usize,
}

// === impl Call ===

impl Call {
    /// Its headers in the form that [`Client`] takes.
    pub fn header_pairs(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }
}

// === impl Load ===

impl Load {
    /// How many requests will be due.
    pub fn requests(&self) -> u64 {
        (self.rate * self.duration.as_secs_f64()).floor() as u64
    }

    /// Sends the load; `call` makes the request of each number. Returns when the last answer came or failed, which
    /// the client's deadline bounds. Dropping the future cancels all open requests.
    pub async fn run(&self, client: &Arc<Client>, mut call: impl FnMut(u64) -> Call) -> Tally {
        let (started, open) = (Instant::now(), Arc::new(Semaphore::new(self.outstanding_max)));
        let (mut tally, mut tasks) = (Tally::default(), JoinSet::new());
        for number in 0..self.requests() {
            let due = Duration::from_secs_f64(number as f64 / self.rate);
            sleep_until(started + due).await;
            while let Some(finished) = tasks.try_join_next() {
                record(&mut tally, finished);
            }
            let Ok(permit) = Arc::clone(&open).try_acquire_owned() else {
                let sentence = format!("request {number}: {} requests were open already", self.outstanding_max);
                tally.add(number, due, due, Err((Cause::NotSent, sentence)));
                continue;
            };
            let (client, call) = (Arc::clone(client), call(number));
            tasks.spawn(async move {
                let outcome = send(&client, &call, started + due).await;
                drop(permit);
                (number, due, started.elapsed(), outcome)
            });
        }
        while let Some(finished) = tasks.join_next().await {
            record(&mut tally, finished);
        }
        tally.samples.sort_by_key(|sample| sample.number);
        tally
    }
}

type Finished = (u64, Duration, Duration, Result<Success, (Cause, String)>);

fn record(tally: &mut Tally, finished: Result<Finished, tokio::task::JoinError>) {
    match finished {
        Ok((number, due, ended, outcome)) => tally.add(number, due, ended, outcome),
        // A request's task is aborted only with the whole load, so this is a panic of the client.
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

async fn send(client: &Client, call: &Call, due: Instant) -> Result<Success, (Cause, String)> {
    let failure = |error: ClientError| (Cause::from(&error), error.to_string());
    if call.streamed {
        let stream = client.stream(&call.path, call.body.clone(), &call.header_pairs()).await.map_err(failure)?;
        if stream.status == StatusCode::OK {
            return watch(stream, due, call.leaves_after).await;
        }
        let answer = stream.collect().await.map_err(failure)?;
        return Err(refused(call, answer.status, &answer.body));
    }
    let answer = client.post(&call.path, call.body.clone(), &call.header_pairs()).await.map_err(failure)?;
    if answer.status != StatusCode::OK {
        return Err(refused(call, answer.status, &answer.body));
    }
    let total = due.elapsed();
    let first_token = total.saturating_sub(answer.total.saturating_sub(answer.first_byte));
    let usage = serde_json::from_slice(&answer.body).ok().and_then(|body| usage(&body));
    Ok(Success { first_token, total, engine: engine(&answer), usage })
}

async fn watch(
    mut stream: EventStream<'_>,
    due: Instant,
    leaves_after: Option<usize>,
) -> Result<Success, (Cause, String)> {
    let engine = stream.header(ENGINE_NAME).map(str::to_owned);
    let (mut first_token, mut counted, mut events) = (None, None, 0);
    while let Some(event) = stream.next().await.map_err(|error| (Cause::from(&error), error.to_string()))? {
        events += 1;
        if leaves_after.is_some_and(|most| events >= most) {
            break;
        }
        if first_token.is_some() && !event.contains("\"error\"") && !event.contains("\"usage\"") {
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(&event) else { continue };
        if !event["error"].is_null() {
            return Err((Cause::ErrorEvent, format!("the stream began with 200 and failed: {}", event["error"])));
        }
        counted = counted.or_else(|| usage(&event));
        if has_token(&event) {
            first_token.get_or_insert_with(|| due.elapsed());
        }
    }
    let total = due.elapsed();
    Ok(Success { first_token: first_token.unwrap_or(total), total, engine, usage: counted })
}

/// The prompt tokens that an answer, or an event of one, reports.
fn usage(answer: &Value) -> Option<Usage> {
    let usage = &answer["usage"];
    let cached_tokens = usage["prompt_tokens_details"]["cached_tokens"].as_u64()?;
    Some(Usage { prompt_tokens: usage["prompt_tokens"].as_u64()?, cached_tokens })
}

/// Whether an event of a chat or a completion carries text.
fn has_token(event: &Value) -> bool {
    let choice = &event["choices"][0];
    [&choice["delta"]["content"], &choice["text"]].iter().any(|text| text.as_str().is_some_and(|text| !text.is_empty()))
}

fn engine(answer: &Answer) -> Option<String> {
    answer.header(ENGINE_NAME).map(str::to_owned)
}

fn refused(call: &Call, status: StatusCode, body: &[u8]) -> (Cause, String) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(SHOWN_BYTES_MAX)]);
    (Cause::Status(status.as_u16()), format!("{}: answered {status}: {shown}", call.path))
}
