//! The scheduler with many open requests whose ends it infers from engine reports. Measures the processor time of this
//! process that reports and requests take per second of virtual time.
//!
//! Must not know how ends are inferred. Each engine reports as many unfinished requests as it should hold, so each new
//! request on it ends the oldest.

use std::time::Duration;

use murmuration::fleet::{LoadReport, Observation};
use murmuration::id::Ticket;
use murmuration::request::{Asked, InferenceRequest};
use murmuration::scheduler::Input;
use murmuration::time::Timestamp;

use super::Failure;
use super::args::DetachedArgs;
use super::decision::{Pool, Prompts};
use super::table::{Cell, Table};
use murmuration_kit::machine::cpu_used;

/// Blocks of each prompt.
const BLOCKS: usize = 16;
/// From this age on, a report is taken to include the request.
const OLD: Duration = Duration::from_secs(1);

/// Measures one pool.
pub(super) fn run(args: &DetachedArgs) -> Result<Table, Failure> {
    let columns = ["endpoints", "open", "reports_hz", "rate", "open_at_end", "reports_percent", "all_percent"];
    let mut table = Table::new("detached", &columns).about("seconds", args.seconds);
    let mut pool = Pool::new(Prompts::Turns, args.endpoints, BLOCKS)?;
    let mut now = Timestamp::ZERO;
    // While the pool fills up, engines report more unfinished requests than there are.
    report(&mut pool, u32::MAX, now);
    for _ in 0..args.open {
        ask(&mut pool, now);
    }
    now = now + OLD;
    let held = u32::try_from(args.open / u64::from(args.endpoints.max(1))).unwrap_or(u32::MAX);
    let (mut reports, begin) = (Duration::ZERO, used()?);
    let step = Duration::from_secs(1) / args.reports.max(1);
    let asks = args.rate / args.reports.max(1);
    for _ in 0..args.seconds {
        let before = used()?;
        for _ in 0..args.reports {
            now = now + step;
            report(&mut pool, held, now);
        }
        reports += used()?.saturating_sub(before);
        for _ in 0..asks * args.reports {
            ask(&mut pool, now);
        }
        now = now + OLD;
    }
    let all = used()?.saturating_sub(begin);
    let percent = |span: Duration| 100.0 * span.as_secs_f64() / f64::from(args.seconds.max(1));
    table.row(vec![
        Cell::Count(args.endpoints.into()),
        Cell::Count(args.open),
        Cell::Count(args.reports.into()),
        Cell::Count(args.rate.into()),
        Cell::Count(pool.scheduler.summary(now).tickets.open),
        Cell::Figure(percent(reports), 2),
        Cell::Figure(percent(all), 2),
    ]);
    Ok(table)
}

fn used() -> Result<Duration, Failure> {
    cpu_used(std::process::id())
}

fn ask(pool: &mut Pool, now: Timestamp) {
    let request = InferenceRequest { sees_response: false, ..pool.conversation() };
    let asked = Asked::new(Ticket(pool.asked), request);
    pool.asked += 1;
    pool.scheduler.handle(Input::Asked(asked), now, &mut pool.outbox);
    pool.outbox.answers.clear();
    pool.outbox.events.clear();
    pool.outbox.publish.clear();
}

fn report(pool: &mut Pool, unfinished: u32, now: Timestamp) {
    for endpoint in pool.endpoints.clone() {
        let report = LoadReport { running: unfinished, awake: true, ..LoadReport::default() };
        let observation = Observation { report, age: Duration::from_millis(2) };
        pool.scheduler.handle(Input::Observed(endpoint, observation), now, &mut pool.outbox);
    }
    pool.outbox.answers.clear();
    pool.outbox.events.clear();
    pool.outbox.publish.clear();
}
