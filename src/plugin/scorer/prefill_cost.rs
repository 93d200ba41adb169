//! `prefill-cost-scorer`: what it costs all requests, in prompt tokens of waiting, to send this one to an endpoint.
//!
//! Must not know how open work is counted or shared, nor other scorers.
//!
//! The cost of endpoint `i` is `P / s + u (1 / s + Q + w R) + c C / s + a (1 / s - 1 / f) + Z`:
//!
//! | term | tokens |
//! |---|---|
//! | `P` | prompt tokens that wait there: dispatched by anyone, without a first token yet |
//! | `u` | prompt tokens of this request that the endpoint does not hold |
//! | `Q` | prompts under way or waiting per endpoint, the mean of all candidates |
//! | `R` | open requests there |
//! | `C` | tokens in its KV cache that live requests use |
//! | `Z` | `otherZoneTokens`, where the endpoint is known to be in another zone than the caller |
//! | `s`, `f` | how fast it is against the mean of all candidates, and how fast the fastest is: 1, or with `measuredSpeed` as measured (`fleet/speed.rs`) |
//!
//! Each of my tokens costs me 1. It delays those who come after me; in a stationary queue of first come, first served
//! these are as many as I find, `Q` (what leaves behind me is what I found: Little's law). In M/M/1 `1 + Q` is
//! `1 / (1 - utilisation)`: a price of congestion without an estimate of the load. `Q` is the pool's and not the
//! endpoint's: with its own queue, an endpoint that holds a prompt would lose it as soon as others wait there. The
//! token is also computed beside the answers of the `R` requests there and holds each of them up. And an answer reads
//! its own context and all others' at each step, so where much is being read, mine takes longer, and makes theirs so.
//!
//! Speed counts for what is this request's own time: its wait, its prompt, and an answer of `a`. What it costs others is
//! priced at the pool's mean, because they may go elsewhere (in the endpoint's own time, slow ones lose the prompts that
//! they hold).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::fleet::PrefillSpeed;
use crate::plugin::contract::Scorer;
use crate::plugin::registration::{Invalid, Plugin, Roles};
use crate::schedule::decision::CostTerms;
use crate::schedule::{Ask, Candidate};

/// What a token of context in an endpoint's KV cache costs, in prompt tokens. Reading a token of context takes 1/2,000
/// to 1/500 of the time to compute one of a prompt (models of 8 to 70 billion parameters with grouped queries on an
/// H100). An answer of 300 tokens reads all contexts 300 times, which costs it and those beside it the same again, and
/// seconds within an answer are worth `w`: 2 x 300 x 0.2 / 1,000 = 0.12, half of which is taken for shorter answers and
/// models that read less. (Replayed: 0.02 to 0.1 differ by a few percent.)
const CONTEXT_PRICE: f64 = 0.05;

/// What an answer costs on an endpoint of the pool's speed, in prompt tokens: 300 steps that read the model's weights,
/// each as long as it takes to compute 100 prompt tokens, at a second within an answer's worth of a fifth. Half of it is
/// taken, as for contexts. It counts only as far as an endpoint is slower than the fastest. (Replayed with half of the
/// engines twice as slow: without it answers take 4 % longer.)
const ANSWER_PRICE: f64 = 3_000.0;

/// Its parameters.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PrefillCostParameters {
    /// What a second within an answer is worth against a second before the first token, 0 to 10. Less lowers times to
    /// the first token and their tails; more lowers the time of whole answers.
    pub answer_weight: f64,
    /// Whether endpoints are told apart by the speed that was measured, for pools of unequal hardware. `false`: all count
    /// as equally fast.
    pub measured_speed: bool,
    /// What it costs to send a request to an endpoint in another zone than the one it came from (the header
    /// `x-forwarded-zone`), in prompt tokens of waiting, 0 to 1,000,000. The default is what 10 ms are worth where 10,000
    /// tokens of prompts are computed in a second. Without the header, or the endpoint's zone, it costs nothing.
    pub other_zone_tokens: f64,
}

/// `prefill-cost-scorer`: what it costs all requests, in prompt tokens of waiting, to send this one to an endpoint: those
/// that wait there, those of this prompt that it does not hold, at the price of congestion, and what both do to running
/// answers. The score is `(lowest cost + 1) / (cost + 1)`.
#[derive(Clone, Debug)]
pub struct PrefillCostScorer {
    answer_weight: f64,
    measured_speed: bool,
    other_zone_tokens: f64,
}

/// What the cost of an endpoint depends on, besides the request.
#[derive(Clone, Copy, Debug)]
struct Load {
    waiting_tokens: f64,
    requests: f64,
    context_tokens: f64,
    speed: f64,
    /// The speed of the fastest candidate.
    fastest: f64,
    /// What the way costs.
    far: f64,
}

// === impl PrefillCostParameters ===

impl Default for PrefillCostParameters {
    fn default() -> Self {
        Self { answer_weight: 0.2, measured_speed: false, other_zone_tokens: 100.0 }
    }
}

// === impl PrefillCostScorer ===

impl PrefillCostScorer {
    fn terms_of(&self, load: &Load, uncached: f64, queue: f64) -> CostTerms {
        let Load { waiting_tokens: waiting, requests: stalled, context_tokens, speed, fastest, far } = *load;
        let price = 1.0 / speed + queue + self.answer_weight * stalled;
        let context = CONTEXT_PRICE * context_tokens / speed;
        let slower = ANSWER_PRICE * (1.0 / speed - 1.0 / fastest);
        let cost = waiting / speed + uncached * price + context + slower + far;
        CostTerms { waiting, speed, uncached, price, stalled, context, slower, far, cost }
    }

    /// The loads of all candidates, and the prompts under way or waiting per candidate.
    fn loads(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>]) -> (Vec<Load>, f64) {
        let speeds = candidates.iter().map(|row| row.speed.filter(|_| self.measured_speed));
        let pool = speeds.reduce(|sum, more| Some(sum?.and(more?))).flatten().unwrap_or_default();
        let mut loads: Vec<Load> = candidates.iter().map(|row| Load::of(row, pool)).collect();
        let fastest = loads.iter().map(|load| load.speed).fold(1.0, f64::max);
        loads.iter_mut().for_each(|load| load.fastest = fastest);
        self.add_ways(ask, candidates, &mut loads);
        let prefills: f64 = candidates.iter().map(|row| f64::from(row.in_flight.prefills)).sum();
        let queue = prefills / candidates.len().max(1) as f64;
        if ask.before > 0 {
            self.add_others(ask, candidates, queue, &mut loads);
        }
        (loads, queue)
    }

    /// Adds what the way from the caller's zone costs.
    fn add_ways(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], loads: &mut [Load]) {
        let Some(from) = &ask.request.zone else { return };
        for (row, load) in candidates.iter().zip(loads) {
            let zone = ask.topology.locate(&row.endpoint.labels).zone;
            if zone.is_some_and(|zone| zone != from) {
                load.far = self.other_zone_tokens;
            }
        }
    }

    /// Adds the requests that others dispatch at this moment where this rule would send them: they are of mean size,
    /// and nothing of them is held anywhere.
    fn add_others(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], queue: f64, loads: &mut [Load]) {
        let prefills = queue * loads.len() as f64;
        let size = if prefills > 0.0 {
            loads.iter().map(|load| load.waiting_tokens).sum::<f64>() / prefills
        } else {
            candidates.iter().map(|row| row.uncached_tokens(ask) as f64).sum::<f64>() / loads.len().max(1) as f64
        };
        for _ in 0..ask.before {
            let costs = loads.iter().map(|load| self.terms_of(load, size, queue).cost).enumerate();
            let Some((best, _)) = costs.min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return };
            loads[best].waiting_tokens += size;
            loads[best].requests += 1.0;
        }
    }
}

impl Scorer for PrefillCostScorer {
    fn score(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], scores: &mut [f64]) {
        let (loads, queue) = self.loads(ask, candidates);
        let mut lowest = f64::INFINITY;
        for ((row, load), cost) in candidates.iter().zip(&loads).zip(scores.iter_mut()) {
            *cost = self.terms_of(load, row.uncached_tokens(ask) as f64, queue).cost;
            lowest = lowest.min(*cost);
        }
        // A token more, so that an idle endpoint that holds the whole prompt does not score infinitely better.
        scores.iter_mut().for_each(|cost| *cost = (lowest + 1.0) / (*cost + 1.0));
    }

    fn terms(&self, ask: &Ask<'_>, candidates: &[Candidate<'_>], shown: &[usize]) -> Vec<CostTerms> {
        let (loads, queue) = self.loads(ask, candidates);
        let uncached = |i: &usize| candidates[*i].uncached_tokens(ask) as f64;
        shown.iter().map(|i| self.terms_of(&loads[*i], uncached(i), queue)).collect()
    }

    fn expects_others(&self) -> bool {
        true
    }
}

impl Plugin for PrefillCostScorer {
    const TYPE: &'static str = "prefill-cost-scorer";
    type Parameters = PrefillCostParameters;

    fn build(parameters: PrefillCostParameters) -> Result<Self, Invalid> {
        let PrefillCostParameters { answer_weight, measured_speed, other_zone_tokens } = parameters;
        if !(0.0..=10.0).contains(&answer_weight) {
            return Err(format!("answerWeight must be within 0 and 10, got {answer_weight}"));
        }
        if !(0.0..=1e6).contains(&other_zone_tokens) {
            return Err(format!("otherZoneTokens must be within 0 and 1,000,000, got {other_zone_tokens}"));
        }
        Ok(Self { answer_weight, measured_speed, other_zone_tokens })
    }

    fn roles(self: Arc<Self>) -> Roles {
        Roles::scorer(self)
    }
}

// === impl Load ===

impl Load {
    /// `pool` is the sum over all candidates.
    fn of(row: &Candidate<'_>, pool: PrefillSpeed) -> Self {
        Self {
            waiting_tokens: row.in_flight.prefill_tokens as f64,
            requests: row.in_flight.requests.into(),
            context_tokens: row.kv_usage * row.kv_tokens.unwrap_or(0) as f64,
            speed: row.speed.unwrap_or_default().against(pool),
            fastest: 1.0,
            far: 0.0,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::fleet::InFlight;
    use crate::plugin::testing::{endpoint, endpoints, request, rows, scores};
    use crate::prefix::PrefixMatch;
    use crate::request::InferenceRequest;

    fn scorer() -> PrefillCostScorer {
        PrefillCostScorer::build(PrefillCostParameters::default()).unwrap()
    }

    /// The request has 10 blocks of 64 tokens.
    fn scored(change: impl Fn(&mut [Candidate<'_>])) -> Vec<f64> {
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        change(&mut rows);
        scores(&scorer(), &request(1, 10), &rows)
    }

    fn close(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} and {other}");
    }

    #[test]
    fn each_term_costs_what_the_formula_says() {
        assert_eq!(scored(|_| ()), [1.0, 1.0]);
        let prefill = |prefill_tokens| InFlight { requests: 1, prefills: 1, prefill_tokens, ..InFlight::default() };
        // One prompt on two endpoints: Q is a half. 640 tokens at 1.5; or 1,000 and 640 at 1.7.
        close(scored(|rows| rows[0].in_flight = prefill(1000))[0], 961.0 / (1000.0 + 640.0 * 1.7 + 1.0));
        let answers = InFlight { requests: 5, ..InFlight::default() };
        close(scored(|rows| rows[0].in_flight = answers)[0], 641.0 / (640.0 * 2.0 + 1.0));
        close(scored(|rows| rows[1].matched = PrefixMatch { blocks: 5, of: 10 })[0], 321.0 / 641.0);
        let used = |rows: &mut [Candidate<'_>]| (rows[0].kv_usage, rows[0].kv_tokens) = (0.5, Some(100_000));
        close(scored(used)[0], 641.0 / (640.0 + 2_500.0 + 1.0));
        assert_eq!(scored(|rows| rows[0].kv_usage = 1.0), [1.0, 1.0], "of unknown size");
    }

    #[test]
    fn a_slow_engine_costs_its_own_time_more() {
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        let speed = |tokens| Some(PrefillSpeed { tokens, millis: 100_000_000 });
        (rows[0].speed, rows[1].speed) = (speed(500_000_000), speed(1_000_000_000));
        rows[0].in_flight = InFlight { requests: 5, prefills: 2, prefill_tokens: 100, ..InFlight::default() };
        let request = request(1, 10);
        let seeing = PrefillCostParameters { measured_speed: true, ..Default::default() };
        let terms = PrefillCostScorer::build(seeing).unwrap().terms(&Ask::sure(&request), &rows, &[0, 1]);
        let (slow, fast) = (terms[0].speed, terms[1].speed);
        assert!((slow - 2.0 / 3.0).abs() < 1e-3 && (fast - 4.0 / 3.0).abs() < 1e-3, "{slow} {fast}");
        close(terms[0].cost, 100.0 / slow + 640.0 * (1.0 / slow + 2.0) + 3_000.0 * (1.0 / slow - 1.0 / fast));
        close(terms[1].cost, 640.0 * (1.0 / fast + 1.0));
        let terms = scorer().terms(&Ask::sure(&request), &rows, &[0, 1]);
        assert_eq!((terms[0].speed, terms[1].cost), (1.0, 1_280.0));
    }

    #[test]
    fn an_idle_endpoint_that_holds_the_whole_prompt_is_best_by_far_and_finitely() {
        let scores = scored(|rows| rows[1].matched = PrefixMatch { blocks: 10, of: 10 });
        assert_eq!(scores, [1.0 / 641.0, 1.0]);
    }

    /// A prompt that most requests begin with is not worth any queue: the endpoint that holds it loses requests as soon
    /// as those that wait there cost more than computing it again.
    #[test]
    fn a_prefix_is_left_once_waiting_for_it_costs_more_than_computing_it() {
        let kept = |waiting: u64| {
            let scores = scored(|rows| {
                rows[0].matched = PrefixMatch { blocks: 10, of: 10 };
                let (prefills, prefill_tokens) = (u32::try_from(waiting).unwrap(), waiting * 100);
                rows[0].in_flight = InFlight { requests: prefills, prefills, prefill_tokens, ..InFlight::default() };
            });
            scores[0] > scores[1]
        };
        // 100 n against 640 (1 + n / 2).
        assert!(kept(1));
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        rows[0].matched = PrefixMatch { blocks: 10, of: 10 };
        rows[0].in_flight = InFlight { requests: 1, prefills: 1, prefill_tokens: 2000, ..InFlight::default() };
        let scores = scores(&scorer(), &request(1, 10), &rows);
        assert!(scores[0] < scores[1]);
    }

    #[test]
    fn others_of_a_crowd_are_placed_first() {
        let endpoints = endpoints(3);
        let mut rows = rows(&endpoints);
        rows[1].in_flight.prefill_tokens = 100;
        rows[2].in_flight.prefill_tokens = 5_000;
        let request = request(1, 10);
        let best = |before| {
            let mut scores = vec![0.0; 3];
            scorer().score(&Ask { before, ..Ask::sure(&request) }, &rows, &mut scores);
            scores.iter().position(|score| *score == 1.0)
        };
        // The first takes row 0, which then costs 640 more, and a fifth more for each token.
        assert_eq!([best(0), best(1), best(2)], [Some(0), Some(1), Some(0)]);
    }

    #[test]
    fn explanations_have_the_terms_of_the_score() {
        let endpoints = endpoints(2);
        let mut rows = rows(&endpoints);
        rows[1].in_flight = InFlight { requests: 3, prefills: 1, prefill_tokens: 100, ..InFlight::default() };
        let request = request(1, 10);
        let terms = scorer().terms(&Ask::sure(&request), &rows, &[1]);
        let CostTerms { waiting, speed, uncached, price, stalled, context, slower, far, cost } = terms[0];
        assert_eq!((waiting, speed, uncached, stalled), (100.0, 1.0, 640.0, 3.0));
        assert_eq!((context, slower, far), (0.0, 0.0, 0.0));
        close(price, 2.1);
        close(cost, 100.0 + 640.0 * 2.1);
    }

    #[test]
    fn another_zone_than_the_caller_s_costs_more_where_both_are_known() {
        let zone = |name, zone| endpoint(name, &[("topology.kubernetes.io/zone", zone)]);
        let endpoints = [zone("e0", "a"), zone("e1", "b"), endpoint("e2", &[])];
        let rows = rows(&endpoints);
        let far = |zone: Option<&str>| -> Vec<f64> {
            let request = InferenceRequest { zone: zone.map(str::to_owned), ..request(1, 10) };
            scorer().terms(&Ask::sure(&request), &rows, &[0, 1, 2]).iter().map(|terms| terms.far).collect()
        };
        assert_eq!(far(Some("a")), [0.0, 100.0, 0.0]);
        assert_eq!(far(Some("c")), [100.0, 100.0, 0.0]);
        assert_eq!(far(None), [0.0; 3]);
        let request = InferenceRequest { zone: Some("b".to_owned()), ..request(1, 10) };
        let scores = scores(&scorer(), &request, &rows);
        assert_eq!((scores[1], scores[2]), (1.0, 1.0));
        close(scores[0], 641.0 / 741.0);
    }

    #[test]
    fn an_endless_price_of_zones_is_refused_by_name() {
        for other_zone_tokens in [-1.0, 2e6, f64::INFINITY] {
            let built = PrefillCostScorer::build(PrefillCostParameters { other_zone_tokens, ..Default::default() });
            assert!(built.unwrap_err().contains("otherZoneTokens"));
        }
    }

    #[test]
    fn a_weight_out_of_range_is_refused_by_name() {
        for answer_weight in [-0.1, 11.0, f64::NAN] {
            let built = PrefillCostScorer::build(PrefillCostParameters { answer_weight, ..Default::default() });
            assert!(built.unwrap_err().contains("answerWeight"));
        }
    }
}
