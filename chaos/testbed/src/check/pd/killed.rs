//! Engines that prefill are killed: first one in the middle of a prompt, then all. Every request gets the right answer
//! or, where sidecars are told so, an error; none hangs. When they are back, prompts are computed there again.
//!
//! Must not know processes.

use std::sync::Arc;
use std::time::Duration;

use murmuration_engine_sim::hand_off::Role;
use murmuration_kit::client::Call;
use tokio::time::{Instant, sleep, timeout};

use super::super::client_request::fetch;
use super::super::report::Report;
use super::asked::{Asker, Came, HANG};
use super::prompts::{self, LONG_BYTES, SLOW_BYTES};
use super::report::PdReport;
use super::{Engines, legs};

/// How long the tier may take to serve as it should after a change.
const CHANGE_MAX: Duration = Duration::from_secs(20);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Long prompts until one is computed by an engine that prefills.
const ATTEMPTS: usize = 5;
/// Requests while all engines that prefill are down.
const WHILE_DOWN: usize = 4;

/// Kills engines and starts them again.
pub(super) async fn check(asker: &Asker<'_>, engines: &mut impl Engines, figures: &mut PdReport, report: &mut Report) {
    let prefillers: Vec<String> = asker
        .target
        .engines
        .iter()
        .filter(|engine| engine.role == Role::Prefill)
        .map(|engine| engine.name.clone())
        .collect();
    let killed = match in_the_middle(asker, engines, figures, report).await {
        Ok(killed) => killed,
        Err(why) => return report.fail(format!("an engine that is killed while it computes a prompt: {why}")),
    };
    for name in prefillers.iter().filter(|name| **name != killed) {
        if let Err(why) = engines.kill(name).await {
            report.fail(why);
        }
    }
    without(asker, figures, report).await;
    for name in &prefillers {
        if let Err(why) = engines.restart(name).await {
            report.fail(why);
        }
    }
    back(asker, figures, report).await;
}

/// Kills the engine that computes a long prompt. Returns its name.
async fn in_the_middle(
    asker: &Asker<'_>,
    engines: &mut impl Engines,
    figures: &mut PdReport,
    report: &mut Report,
) -> Result<String, String> {
    let what = "the request whose prefill engine was killed";
    for _ in 0..ATTEMPTS {
        let (_, call) = prompts::new_text(&asker.target.tier.model, "killed", SLOW_BYTES);
        let (public, sent) = (Arc::clone(asker.public), call.clone());
        let mut asking = tokio::spawn(async move { timeout(HANG, fetch(&public, &sent)).await });
        let computes = loop {
            match on_a_prefiller(asker).await {
                Some(name) => break Some(name),
                None if asking.is_finished() => break None,
                None => sleep(LOOK_EVERY).await,
            }
        };
        if let Some(name) = &computes {
            engines.kill(name).await?;
        }
        let came = (&mut asking).await.map_err(|why| why.to_string())?;
        let came = came.map_err(|_| format!("no answer within {HANG:?}"))??;
        let came = asker.judge(&call, came).await;
        match computes {
            Some(name) => {
                note(asker, came, figures, report, what);
                return Ok(name);
            }
            // It was computed where it was decoded, which may be cheaper just then. The answer must be right.
            None => match came? {
                Came::Right(_) => {}
                Came::Refused(status) | Came::Error(status) => return Err(format!("answered {status}")),
            },
        }
    }
    Err(format!("none of {ATTEMPTS} long prompts was computed by an engine that prefills"))
}

/// The engine that holds an open prompt for another one: it runs a request and keeps nothing yet.
async fn on_a_prefiller(asker: &Asker<'_>) -> Option<String> {
    let mut found = None;
    for engine in asker.target.engines.iter().filter(|engine| engine.role == Role::Prefill) {
        let page = murmuration_kit::client::Client::new(engine.address).get("/metrics").await.ok()?;
        let text = String::from_utf8_lossy(&page.body).into_owned();
        if murmuration_kit::metrics::sum(&text, "vllm:num_requests_running", "").is_some_and(|running| running > 0.0) {
            found = Some(engine.name.clone());
        }
    }
    found
}

/// While none is there, prompts are computed by the engines that decode, as soon as replicas know; or replicas refuse
/// them, with a configuration that says so.
async fn without(asker: &Asker<'_>, figures: &mut PdReport, report: &mut Report) {
    let (mut in_a_row, deadline) = (0, Instant::now() + CHANGE_MAX);
    while in_a_row < WHILE_DOWN {
        if Instant::now() >= deadline {
            return report
                .fail(format!("{CHANGE_MAX:?} after the last engine that prefills was killed, requests still fail"));
        }
        let came = ask_new(asker).await;
        in_a_row = if matches!(came, Ok(Came::Right(_) | Came::Refused(_))) { in_a_row + 1 } else { 0 };
        note(asker, came, figures, report, "a request without engines that prefill");
    }
}

/// Once they are back, a prompt is computed there again.
async fn back(asker: &Asker<'_>, figures: &mut PdReport, report: &mut Report) {
    let deadline = Instant::now() + CHANGE_MAX;
    loop {
        match ask_new(asker).await {
            Ok(Came::Right(id)) => match legs::compare(asker.target, &id).await {
                Ok(legs) if legs.prefill.is_some() => return figures.note(&legs),
                Ok(legs) => figures.note(&legs),
                Err(why) => report.fail(format!("after engines were started again: {why} (request {id})")),
            },
            other => note(asker, other, figures, report, "a request after engines were started again"),
        }
        if Instant::now() >= deadline {
            return report.fail(format!("{CHANGE_MAX:?} after engines were started again, none computes a prompt"));
        }
        sleep(LOOK_EVERY).await;
    }
}

async fn ask_new(asker: &Asker<'_>) -> Result<Came, String> {
    let (_, call): (String, Call) = prompts::new_text(&asker.target.tier.model, "while engines are down", LONG_BYTES);
    asker.ask(&call).await
}

/// Counts an answer that came while engines were down.
fn note(asker: &Asker<'_>, came: Result<Came, String>, figures: &mut PdReport, report: &mut Report, what: &str) {
    match came {
        Ok(Came::Right(_)) => figures.while_down.right += 1,
        Ok(Came::Error(status)) if asker.target.falls_back => {
            report.fail(format!("{what}: answered {status}, where the engine that decodes should have computed it"));
        }
        Ok(Came::Refused(_) | Came::Error(_)) => figures.while_down.errors += 1,
        Err(why) => report.fail(format!("{what}: {why}")),
    }
}
