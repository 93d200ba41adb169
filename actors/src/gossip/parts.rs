//! Splits chitchat messages into parts that fit a datagram, and joins them again.
//!
//! Must not know what a message contains. chitchat fills a datagram to its last byte and knows nothing of envelopes. A
//! message made too large by its envelope would be resent unchanged for ever, and block later updates of its replica.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Most bytes of a part: a datagram's 65,507 (65,487 by IPv6) minus any envelope.
pub(super) const PART_BYTES_MAX: usize = 60_000;
/// Most senders for which one part is kept until the other arrives.
const SENDERS_MAX: usize = 64;

const WHOLE: u8 = 0;
const FIRST: u8 = 1;
const SECOND: u8 = 2;

/// Splits messages, and numbers those that need two parts.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    number: u64,
}

/// Joins parts to messages.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    halves: BTreeMap<SocketAddr, Half>,
}

#[derive(Debug)]
struct Half {
    which: u8,
    number: u64,
    bytes: Vec<u8>,
}

// === impl Cutter ===

impl Cutter {
    /// Splits `message` into one or two parts. `None` when it does not fit two.
    pub(super) fn cut(&mut self, message: &[u8]) -> Option<Vec<Vec<u8>>> {
        if message.len() < PART_BYTES_MAX {
            return Some(vec![[&[WHOLE], message].concat()]);
        }
        let (first, second) = message.split_at(message.len() / 2);
        if second.len() + 9 > PART_BYTES_MAX {
            return None;
        }
        self.number += 1;
        let number = self.number.to_le_bytes();
        Some(vec![[&[FIRST], &number[..], first].concat(), [&[SECOND], &number[..], second].concat()])
    }
}

// === impl Joiner ===

impl Joiner {
    /// Adds a part and returns the message once it is complete. Fails when `part` is not a part.
    pub(super) fn join(&mut self, from: SocketAddr, part: &[u8]) -> Result<Option<Vec<u8>>, ()> {
        let (&which, rest) = part.split_first().ok_or(())?;
        if which == WHOLE {
            return Ok(Some(rest.to_vec()));
        }
        let (number, bytes) = rest.split_first_chunk().ok_or(())?;
        if which != FIRST && which != SECOND {
            return Err(());
        }
        let half = Half { which, number: u64::from_le_bytes(*number), bytes: bytes.to_vec() };
        match self.halves.remove(&from) {
            Some(other) if other.number == half.number && other.which != half.which => {
                let (first, second) = if which == FIRST { (half, other) } else { (other, half) };
                Ok(Some([first.bytes, second.bytes].concat()))
            }
            _ => {
                // Clearing loses parts that gossip sends again anyway.
                if self.halves.len() >= SENDERS_MAX {
                    self.halves.clear();
                }
                self.halves.insert(from, half);
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used)]
mod tests {
    use super::*;

    const FROM: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn message(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at % 251) as u8).collect()
    }

    #[test]
    fn every_size_that_chitchat_makes_comes_out_whole_in_either_order() {
        let (mut cutter, mut joiner) = (Cutter::default(), Joiner::default());
        for length in [0, 1, 1_400, PART_BYTES_MAX - 1, PART_BYTES_MAX, 65_507, 65_600] {
            for turned in [false, true] {
                let mut parts = cutter.cut(&message(length)).expect("small enough");
                assert!(parts.iter().all(|part| part.len() <= PART_BYTES_MAX));
                if turned {
                    parts.reverse();
                }
                let joined: Vec<_> = parts.iter().filter_map(|part| joiner.join(FROM, part).expect("a part")).collect();
                assert_eq!(joined, [message(length)]);
            }
        }
        assert!(joiner.halves.is_empty());
    }

    #[test]
    fn halves_of_two_messages_are_never_put_together() {
        let (mut cutter, mut joiner) = (Cutter::default(), Joiner::default());
        let (one, other) = (cutter.cut(&message(65_000)).expect("cut"), cutter.cut(&message(65_001)).expect("cut"));
        assert_eq!(joiner.join(FROM, &one[0]), Ok(None));
        assert_eq!(joiner.join(FROM, &other[1]), Ok(None));
        assert_eq!(joiner.join(FROM, &other[0]), Ok(Some(message(65_001))));
        assert_eq!(joiner.join(FROM, &one[0]), Ok(None));
        assert_eq!(joiner.join(FROM, &one[0]), Ok(None), "the same half twice is no whole");
    }

    #[test]
    fn invalid_parts_are_refused_and_memory_is_bounded() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.join(FROM, &[]), Err(()));
        assert_eq!(joiner.join(FROM, &[FIRST, 1, 2]), Err(()));
        assert_eq!(joiner.join(FROM, &[9; 20]), Err(()));
        for port in 0..1_000 {
            let _ = joiner.join(SocketAddr::new(FROM.ip(), port), &[FIRST; 20]);
        }
        assert!(joiner.halves.len() <= SENDERS_MAX);
        assert_eq!(Cutter::default().cut(&message(PART_BYTES_MAX * 2)), None);
    }
}
