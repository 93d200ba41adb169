//! The cheapest way to serve a request, among all pairs and all endpoints alone.
//!
//! Must not know what costs mean. The cost of a pair is a sum: what the prompt costs where it is computed, what the
//! answer costs, and the transfer, which depends on the endpoint that decodes and on one bit of the pair: whether both
//! are in one zone. So for each endpoint that decodes, the cheapest prefill endpoint of its zone and the cheapest of
//! the others are the only ones that can win. Those of all zones are found and sorted once, and few of them must be
//! passed over: 100 x 100 pairs cost 100 + 100 steps however many zones there are, and the result is exact.

use std::cmp::Reverse;

use super::pair_price::Cost;

/// An endpoint that may compute the prompt for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prefiller {
    /// Which endpoint it is; one that decodes too has the same number there.
    pub(super) endpoint: usize,
    /// Its zone; 0 if that is not known.
    pub(super) zone: usize,
    /// What the prompt costs there.
    pub(super) cost: Cost,
    /// Its weight among equals: the highest wins.
    pub(super) draw: u64,
}

/// An endpoint that may decode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoder {
    /// Which endpoint it is.
    pub(super) endpoint: usize,
    /// Its zone; 0 if that is not known.
    pub(super) zone: usize,
    /// What it costs that it serves alone.
    pub(super) alone: Cost,
    /// What the answer costs, where another one computes the prompt.
    pub(super) answer: Cost,
    /// The transfer from within its zone.
    pub(super) near: Cost,
    /// The transfer from another zone.
    pub(super) far: Cost,
    /// Its weight among equals: the highest wins.
    pub(super) draw: u64,
}

/// One way to serve a request. The least one wins: the cheapest, then the draw of the endpoint that decodes, then
/// without another one, then the draw of that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way {
    pub(super) cost: Cost,
    decode_draw: Reverse<u64>,
    pub(super) decode: usize,
    prefill_rank: Option<(Reverse<u64>, usize)>,
}

/// The order of endpoints that prefill, the best first.
type Rank = (Cost, Reverse<u64>, usize);

/// The two cheapest of a zone: the second one counts where the first would prefill for itself.
#[derive(Clone, Copy, Debug, Default)]
struct Best([Option<Rank>; 2]);

/// The two cheapest of each zone, by zone and in one order.
#[derive(Debug)]
struct Bests {
    of_zone: Vec<Best>,
    sorted: Vec<Rank>,
}

// === impl Way ===

impl Way {
    fn alone(decode: usize, decoder: &Decoder) -> Self {
        Self { cost: decoder.alone, decode_draw: Reverse(decoder.draw), decode, prefill_rank: None }
    }

    fn pair(decode: usize, decoder: &Decoder, prefill: usize, prefiller: &Prefiller) -> Self {
        let cost = prefiller.cost.and(decoder.answer).and(decoder.transfer_from(prefiller.zone));
        let prefill_rank = Some((Reverse(prefiller.draw), prefill));
        Self { cost, decode_draw: Reverse(decoder.draw), decode, prefill_rank }
    }

    /// Which one prefills.
    pub(super) fn prefill(&self) -> Option<usize> {
        self.prefill_rank.map(|(_, prefill)| prefill)
    }
}

// === impl Decoder ===

impl Decoder {
    fn transfer_from(&self, zone: usize) -> Cost {
        if is_near(self.zone, zone) { self.near } else { self.far }
    }
}

/// Whether a transfer between these zones is a near one. One that is not known is near to all.
pub(super) fn is_near(one: usize, other: usize) -> bool {
    one == 0 || other == 0 || one == other
}

/// For each endpoint that decodes: itself alone, and its best pair if there is one.
pub(super) fn ways<'a>(decoders: &'a [Decoder], prefillers: &'a [Prefiller]) -> impl Iterator<Item = Way> + 'a {
    let bests = Bests::of(prefillers);
    decoders.iter().enumerate().flat_map(move |(at, decoder)| {
        let found = bests.near(decoder, prefillers).into_iter().chain([bests.far(decoder, prefillers)]).flatten();
        let pair = found.map(|found| Way::pair(at, decoder, found, &prefillers[found])).min();
        [Some(Way::alone(at, decoder)), pair].into_iter().flatten()
    })
}

/// The `count` best pairs of one endpoint that decodes, best first.
pub(super) fn prefillers_for(decode: usize, decoder: &Decoder, prefillers: &[Prefiller], count: usize) -> Vec<Way> {
    let others = prefillers.iter().enumerate().filter(|(_, prefiller)| prefiller.endpoint != decoder.endpoint);
    let mut ways: Vec<Way> = others.map(|(at, prefiller)| Way::pair(decode, decoder, at, prefiller)).collect();
    if count < ways.len() {
        ways.select_nth_unstable(count);
        ways.truncate(count);
    }
    ways.sort_unstable();
    ways
}

// === impl Bests ===

impl Bests {
    fn of(prefillers: &[Prefiller]) -> Self {
        let zones = prefillers.iter().map(|prefiller| prefiller.zone + 1).max().unwrap_or(0);
        let mut of_zone = vec![Best::default(); zones];
        for (at, prefiller) in prefillers.iter().enumerate() {
            of_zone[prefiller.zone].offer((prefiller.cost, Reverse(prefiller.draw), at));
        }
        let mut sorted: Vec<Rank> = of_zone.iter().flat_map(|best| best.0).flatten().collect();
        sorted.sort_unstable();
        Self { of_zone, sorted }
    }

    /// The best of the endpoint's zone, and of those whose zone is not known. All are near to one whose own is not.
    fn near(&self, decoder: &Decoder, prefillers: &[Prefiller]) -> [Option<usize>; 2] {
        if decoder.zone == 0 {
            return [self.first(prefillers, |prefiller| prefiller.endpoint != decoder.endpoint), None];
        }
        [decoder.zone, 0].map(|zone| self.of_zone.get(zone)?.without(decoder.endpoint, prefillers))
    }

    /// The best of all other zones.
    fn far(&self, decoder: &Decoder, prefillers: &[Prefiller]) -> Option<usize> {
        let is_far = |zone| !is_near(decoder.zone, zone);
        self.first(prefillers, |prefiller| is_far(prefiller.zone) && prefiller.endpoint != decoder.endpoint)
            .filter(|_| decoder.zone != 0)
    }

    fn first(&self, prefillers: &[Prefiller], may: impl Fn(&Prefiller) -> bool) -> Option<usize> {
        self.sorted.iter().map(|(.., at)| *at).find(|at| may(&prefillers[*at]))
    }
}

// === impl Best ===

impl Best {
    fn offer(&mut self, one: Rank) {
        let [first, second] = &mut self.0;
        if first.is_none_or(|known| one < known) {
            *second = first.replace(one);
        } else if second.is_none_or(|known| one < known) {
            *second = Some(one);
        }
    }

    /// The best that is not `endpoint`.
    fn without(&self, endpoint: usize, prefillers: &[Prefiller]) -> Option<usize> {
        self.0.iter().flatten().map(|(.., at)| *at).find(|at| prefillers[*at].endpoint != endpoint)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Few different values, so that ties are common.
    fn prefiller() -> impl Strategy<Value = Prefiller> {
        (0..4_usize, 0..6_u32, 0..4_u64).prop_map(|(zone, cost, draw)| Prefiller {
            endpoint: 0,
            zone,
            cost: Cost::of(f64::from(cost)),
            draw,
        })
    }

    /// Each has a number of its own. Decoders have one of the same range, so that some do both.
    fn prefillers() -> impl Strategy<Value = Vec<Prefiller>> {
        vec(prefiller(), 0..12).prop_map(|mut all| {
            all.iter_mut().enumerate().for_each(|(at, prefiller)| prefiller.endpoint = at);
            all
        })
    }

    fn decoder() -> impl Strategy<Value = Decoder> {
        (0..12_usize, 0..4_usize, 0..9_u32, 0..4_u32, 0..3_u32, 0..4_u64).prop_map(
            |(endpoint, zone, alone, answer, far, draw)| Decoder {
                endpoint,
                zone,
                alone: Cost::of(f64::from(alone)),
                answer: Cost::of(f64::from(answer)),
                near: Cost::of(0.5),
                far: Cost::of(f64::from(far) + 0.5),
                draw,
            },
        )
    }

    /// Every way that there is.
    fn all(decoders: &[Decoder], prefillers: &[Prefiller]) -> Vec<Way> {
        let mut ways = Vec::new();
        for (d, decoder) in decoders.iter().enumerate() {
            ways.push(Way::alone(d, decoder));
            for (p, prefiller) in prefillers.iter().enumerate().filter(|(_, p)| p.endpoint != decoder.endpoint) {
                ways.push(Way::pair(d, decoder, p, prefiller));
            }
        }
        ways
    }

    proptest! {
        #[test]
        fn the_least_of_few_is_the_least_of_all(decoders in vec(decoder(), 0..12), prefillers in prefillers()) {
            let every = all(&decoders, &prefillers);
            prop_assert_eq!(ways(&decoders, &prefillers).min(), every.iter().copied().min());
            for (d, decoder) in decoders.iter().enumerate() {
                let mut pairs: Vec<Way> =
                    every.iter().copied().filter(|way| way.decode == d && way.prefill().is_some()).collect();
                pairs.sort_unstable();
                pairs.truncate(3);
                prop_assert_eq!(prefillers_for(d, decoder, &prefillers, 3), pairs);
            }
        }
    }
}
