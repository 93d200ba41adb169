//! What a subset hint adds to a decision, and what it costs the request's stream to read the hint.
//!
//! Must not know how a hint is resolved. The same request is decided with and without the hint, in turns.

use std::hint::black_box;

use murmuration::request::Subset;
use murmuration::scheduler::Input;
use tokio::time::Instant;

use super::Failure;
use super::args::SubsetArgs;
use super::decision::{Pool, Prompts, address};
use super::spread::Spread;
use super::table::{Cell, Table};

/// Blocks of each prompt.
const BLOCKS: usize = 256;

/// Measures each number of addresses.
pub(super) fn run(args: &SubsetArgs) -> Result<Table, Failure> {
    let columns = ["endpoints", "addresses", "without_p50_us", "with_p50_us", "added_p50_us", "sorted_p50_us"];
    let mut table = Table::new("subset", &columns).about("decisions", args.decisions);
    let mut pool = Pool::new(Prompts::Turns, args.endpoints, BLOCKS)?;
    for &addresses in &args.addresses {
        // Spread over the pool, and in no order.
        let step = (args.endpoints / addresses.max(1)).max(1);
        let mut hint: Vec<_> = (0..addresses).map(|n| address(n.wrapping_mul(step))).collect();
        let middle = hint.len() / 2;
        hint.rotate_left(middle);
        let (mut without, mut with, mut sorted) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..args.decisions {
            pool.request(|scheduler, asked, now, outbox| {
                let mut restricted = asked.request.clone();
                let began = Instant::now();
                restricted.subset = Some(hint.iter().copied().collect::<Subset>());
                sorted.push(began.elapsed().as_secs_f64() * 1e6);
                let mut time = |request, spans: &mut Vec<f64>| {
                    let began = Instant::now();
                    let decided = black_box(scheduler.decide(request, now));
                    spans.push(began.elapsed().as_secs_f64() * 1e6);
                    drop(decided);
                };
                // In turns, because the first of two warms the caches for the other.
                if n % 2 == 0 {
                    time(&asked.request, &mut without);
                    time(&restricted, &mut with);
                } else {
                    time(&restricted, &mut with);
                    time(&asked.request, &mut without);
                }
                scheduler.handle(Input::Asked(asked), now, outbox);
            })?;
        }
        let (without, with, sorted) = (Spread::of(without), Spread::of(with), Spread::of(sorted));
        table.row(vec![
            Cell::Count(args.endpoints.into()),
            Cell::Count(addresses.into()),
            Cell::Figure(without.p50, 1),
            Cell::Figure(with.p50, 1),
            Cell::Figure(with.p50 - without.p50, 1),
            Cell::Figure(sorted.p50, 1),
        ]);
    }
    Ok(table)
}
