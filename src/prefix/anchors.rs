//! Anchors: the few blocks of a chain that stand for all of it, the same on every replica.
//!
//! Must not know who holds what. A chained hash stands for everything before it, so a chain can be thinned and still be
//! walked. The first [`DENSE`] blocks are all anchors, and each doubling of the length after that has
//! [`ANCHORS_PER_OCTAVE`] more. A prompt of 100,000 tokens (6,250 blocks of 16) has 47 anchors. A placement made of
//! them fits a gossip record, costs a peer as little memory as its own placements, and is walked in the same steps by
//! every replica.
//!
//! The price is resolution: a match is known to the last anchor, so up to a fifth of its length (a tenth on average)
//! may be missing. All replicas miss the same part.

use crate::id::BlockHash;

/// Blocks at the head that are all anchors.
pub const DENSE: u32 = 8;
/// Anchors in each doubling of the length after the head.
pub const ANCHORS_PER_OCTAVE: u32 = 4;
/// Bits of a hash that an anchor keeps. At a million known anchors, the odds of a false match are one in a million.
pub const BITS: u32 = 40;

/// Blocks that the first `count` anchors stand for: the position of the last one, counted from 1.
pub fn blocks(count: u32) -> u32 {
    if count <= DENSE {
        return count;
    }
    let beyond = count - DENSE;
    let (octave, step) = (beyond / ANCHORS_PER_OCTAVE, beyond % ANCHORS_PER_OCTAVE);
    let base = DENSE.checked_shl(octave).filter(|base| base >> octave == DENSE);
    base.and_then(|base| base.checked_add(step.checked_mul(base / ANCHORS_PER_OCTAVE)?)).unwrap_or(u32::MAX)
}

/// Anchors that a chain of `blocks` blocks has: those at or before its end.
pub fn count(blocks: u32) -> u32 {
    if blocks <= DENSE {
        return blocks;
    }
    let octave = blocks.ilog2() - DENSE.ilog2();
    let base = DENSE << octave;
    DENSE + octave * ANCHORS_PER_OCTAVE + (blocks - base) / (base / ANCHORS_PER_OCTAVE)
}

/// The anchors of `chain`, each truncated to [`BITS`] bits. No anchor occurs twice: where a truncated hash happens to
/// repeat, the anchors end before it.
pub fn of(chain: &[BlockHash]) -> Vec<BlockHash> {
    let most = count(u32::try_from(chain.len()).unwrap_or(u32::MAX));
    let anchors = (1..=most).filter_map(|n| chain.get(blocks(n) as usize - 1)).map(|&hash| truncated(hash));
    let mut anchors: Vec<BlockHash> = anchors.collect();
    anchors.truncate(distinct(&anchors));
    anchors
}

/// How many of `anchors` come before the first one that repeats. Anchors stand for growing beginnings of one prompt, so
/// a valid list has no repetition.
pub fn distinct(anchors: &[BlockHash]) -> usize {
    let mut sorted = anchors.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).all(|pair| pair[0] != pair[1]) {
        return anchors.len();
    }
    (1..anchors.len()).find(|&at| anchors[..at].contains(&anchors[at])).unwrap_or(anchors.len())
}

fn truncated(hash: BlockHash) -> BlockHash {
    BlockHash(hash.0 >> (u64::BITS - BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_dense_and_octaves_have_four_each() {
        let positions: Vec<u32> = (1..=21).map(blocks).collect();
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80];
        assert_eq!(positions, expected);
    }

    #[test]
    fn count_and_blocks_are_inverse() {
        for n in 1..100 {
            assert_eq!(count(blocks(n)), n);
            assert_eq!(count(blocks(n) - 1), n - 1);
        }
        assert_eq!((count(0), blocks(0), blocks(10_000)), (0, 0, u32::MAX));
        assert_eq!(blocks(count(6250)), 6144);
    }

    #[test]
    fn a_repeated_anchor_ends_the_list() {
        let chain = [1u64, 2, 3, 2, 4].map(|hash| BlockHash(hash << (u64::BITS - BITS)));
        assert_eq!(of(&chain), [1, 2, 3].map(BlockHash), "peers refuse anchors that repeat");
    }

    #[test]
    fn chains_that_share_blocks_share_the_anchors_among_them() {
        let chain = |tail: u64| -> Vec<BlockHash> {
            (0..100).map(|i| BlockHash(crate::chance::mix(if i < 50 { i } else { i + tail }))).collect()
        };
        let (a, b) = (of(&chain(0)), of(&chain(1000)));
        let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
        assert_eq!((blocks(shared as u32), a.len()), (48, count(100) as usize));
    }
}
