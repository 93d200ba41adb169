//! The endpoints of both stages, with their loads and what they hold of the request's prompt, as the search needs them.
//!
//! Must not know how the cheapest way is found. An endpoint of both stages has one load.

use std::collections::BTreeMap;

use super::pair_price::{Cost, Load, Prices, Size, of_answer, of_prompt};
use super::pair_search::{Decoder, Prefiller, Way, is_near, ways};
use crate::chance::mix;
use crate::schedule::pair::PairTerms;
use crate::schedule::{Ask, Candidate};

/// Whose prompt is priced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whose {
    /// The request's own.
    Mine,
    /// One of so many tokens, nothing of which is held anywhere.
    Others(f64),
}

/// Both stages of one request.
#[derive(Debug)]
pub(super) struct Field {
    decoders: Side,
    prefillers: Side,
    loads: Vec<Load>,
    prompt: f64,
}

/// The endpoints of one stage.
#[derive(Debug)]
struct Side {
    rows: Vec<Row>,
    /// Prompts under way or waiting for each of them.
    queue: f64,
    /// Prompt tokens that wait at each of them, in the mean.
    waiting: f64,
}

/// One endpoint of a stage.
#[derive(Clone, Copy, Debug)]
struct Row {
    load: usize,
    zone: usize,
    uncached: f64,
    /// It is in another zone than the caller.
    is_elsewhere: bool,
    draw: u64,
}

/// Numbers of endpoints and of zones, in the order in which they are met.
struct Numbering<'a> {
    loads: Vec<Load>,
    /// The number of each slot's load.
    of_slot: Vec<Option<usize>>,
    zones: BTreeMap<&'a str, usize>,
}

// === impl Whose ===

impl Whose {
    fn uncached(self, row: &Row) -> f64 {
        match self {
            Self::Mine => row.uncached,
            Self::Others(size) => size,
        }
    }
}

// === impl Side ===

impl Side {
    fn measure(&mut self, loads: &[Load]) {
        let mean = |of: fn(&Load) -> f64| {
            self.rows.iter().map(|row| of(&loads[row.load])).sum::<f64>() / self.rows.len().max(1) as f64
        };
        (self.queue, self.waiting) = (mean(|load| load.prefills), mean(|load| load.waiting));
    }
}

// === impl Numbering ===

impl<'a> Numbering<'a> {
    fn side(&mut self, ask: &Ask<'_>, candidates: &[Candidate<'a>]) -> Side {
        let rows: Vec<Row> = candidates.iter().map(|candidate| self.row(ask, candidate)).collect();
        let mut side = Side { rows, queue: 0.0, waiting: 0.0 };
        side.measure(&self.loads);
        side
    }

    fn row(&mut self, ask: &Ask<'_>, candidate: &Candidate<'a>) -> Row {
        let slot = candidate.slot.index();
        if self.of_slot.len() <= slot {
            self.of_slot.resize(slot + 1, None);
        }
        let load = *self.of_slot[slot].get_or_insert_with(|| {
            self.loads.push(Load::of(candidate));
            self.loads.len() - 1
        });
        let zone = candidate.endpoint.labels.get(ask.topology.zone.as_ref()).filter(|zone| !zone.is_empty());
        let next = self.zones.len() + 1;
        Row {
            load,
            zone: zone.map_or(0, |zone| *self.zones.entry(zone).or_insert(next)),
            uncached: candidate.uncached_tokens(ask) as f64,
            is_elsewhere: zone.zip(ask.request.zone.as_ref()).is_some_and(|(own, caller)| own != caller),
            draw: mix(ask.key ^ candidate.endpoint.id.key().0),
        }
    }
}

// === impl Field ===

impl Field {
    pub(super) fn new(ask: &Ask<'_>, decoders: &[Candidate<'_>], prefillers: &[Candidate<'_>]) -> Self {
        let mut numbering = Numbering { loads: Vec::new(), of_slot: Vec::new(), zones: BTreeMap::new() };
        let (decoders, prefillers) = (numbering.side(ask, decoders), numbering.side(ask, prefillers));
        Self { decoders, prefillers, loads: numbering.loads, prompt: ask.request.prompt.tokens as f64 }
    }

    /// What the search compares.
    pub(super) fn sides(&self, prices: &Prices, whose: Whose) -> (Vec<Decoder>, Vec<Prefiller>) {
        let behind = [true, false].map(|near| self.links(prices, whose, near));
        let decoder = |row: &Row| {
            let (load, uncached) = (&self.loads[row.load], whose.uncached(row));
            let transfer = |near: bool| {
                let link = self.link(prices, row, whose, near) + behind[usize::from(!near)];
                Cost::of(uncached * prices.of_move(near) + link)
            };
            let answer = |alone| of_answer(&self.answer(prices, row, whose, alone));
            Decoder {
                endpoint: row.load,
                zone: row.zone,
                alone: of_prompt(&prices.local(load, self.size(whose, row), self.decoders.queue)).and(answer(true)),
                answer: answer(false),
                near: transfer(true),
                far: transfer(false),
                draw: row.draw,
            }
        };
        let prefiller = |row: &Row| {
            let terms = prices.remote(&self.loads[row.load], self.size(whose, row), self.prefillers.queue);
            Prefiller { endpoint: row.load, zone: row.zone, cost: of_prompt(&terms), draw: row.draw }
        };
        (self.decoders.rows.iter().map(decoder).collect(), self.prefillers.rows.iter().map(prefiller).collect())
    }

    /// Adds a request that another replica dispatches at this moment where the same rule would send it: it is of mean
    /// size, and nothing of it is held anywhere.
    pub(super) fn add_other(&mut self, prices: &Prices) {
        let prefills: f64 = self.loads.iter().map(|load| load.prefills).sum();
        let size = if prefills > 0.0 {
            self.loads.iter().map(|load| load.waiting).sum::<f64>() / prefills
        } else {
            self.decoders.rows.iter().map(|row| row.uncached).sum::<f64>() / self.decoders.rows.len().max(1) as f64
        };
        let (decoders, prefillers) = self.sides(prices, Whose::Others(size));
        let Some(way) = ways(&decoders, &prefillers).min() else { return };
        let decode = self.decoders.rows[way.decode].load;
        let computes = way.prefill().map_or(decode, |prefill| self.prefillers.rows[prefill].load);
        self.loads[decode].requests += 1.0;
        if computes != decode {
            self.loads[computes].requests += 1.0;
            self.loads[decode].incoming += size;
        }
        self.loads[computes].prefills += 1.0;
        self.loads[computes].waiting += size;
    }

    /// The terms of a way to serve the request.
    pub(super) fn terms(&self, prices: &Prices, way: &Way) -> PairTerms {
        let decode = &self.decoders.rows[way.decode];
        let (load, cost) = (&self.loads[decode.load], way.cost.tokens());
        let answer = PairTerms { cost, ..self.answer(prices, decode, Whose::Mine, way.prefill().is_none()) };
        let Some(prefill) = way.prefill().map(|prefill| &self.prefillers.rows[prefill]) else {
            let PairTerms { waiting, uncached, price, .. } =
                prices.local(load, self.size(Whose::Mine, decode), self.decoders.queue);
            return PairTerms { waiting, uncached, price, ..answer };
        };
        let PairTerms { waiting, uncached, price, hand_off, .. } =
            prices.remote(&self.loads[prefill.load], self.size(Whose::Mine, prefill), self.prefillers.queue);
        let near = is_near(decode.zone, prefill.zone);
        let (move_price, whose) = (prices.of_move(near), Whose::Mine);
        let link = self.link(prices, decode, whose, near) + self.links(prices, whose, near);
        PairTerms { waiting, uncached, price, hand_off, moved: decode.uncached, move_price, link, ..answer }
    }

    /// What the answer costs. Where callers of others are is not known.
    fn answer(&self, prices: &Prices, decode: &Row, whose: Whose, is_local: bool) -> PairTerms {
        let far = if decode.is_elsewhere && matches!(whose, Whose::Mine) { prices.caller } else { 0.0 };
        PairTerms { far, ..prices.answer(&self.loads[decode.load], self.tokens(whose), is_local) }
    }

    /// What the prompt waits at the link of an endpoint that decodes, once it is computed.
    fn link(&self, prices: &Prices, decode: &Row, whose: Whose, near: bool) -> f64 {
        let until = self.prefillers.waiting + whose.uncached(decode);
        prices.link(&self.loads[decode.load], until, near)
    }

    /// The mean of that over all of them.
    fn links(&self, prices: &Prices, whose: Whose, near: bool) -> f64 {
        let rows = &self.decoders.rows;
        rows.iter().map(|row| self.link(prices, row, whose, near)).sum::<f64>() / rows.len().max(1) as f64
    }

    fn size(&self, whose: Whose, row: &Row) -> Size {
        Size { uncached: whose.uncached(row), prompt: self.tokens(whose) }
    }

    fn tokens(&self, whose: Whose) -> f64 {
        match whose {
            Whose::Mine => self.prompt,
            Whose::Others(size) => size,
        }
    }
}
