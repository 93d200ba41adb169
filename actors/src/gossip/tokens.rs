//! Tokens that prove freshness: an address that returns one was reached here a short time ago.
//!
//! Must not know datagrams. Clocks of two replicas are never compared: the issuer of a token judges its age by its own
//! clock. Tokens are not stored. Each is a keyed hash of the address and the period, under a secret that only this
//! start of the lane knows. So a restart invalidates all older recordings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use murmuration::time::Timestamp;
use ring::hmac;

use super::envelope::{TOKEN_BYTES, Token};

/// The shortest period. A token is valid in the period that it was issued in and in the next one.
const PERIOD_MIN: Duration = Duration::from_secs(4);

/// Issues tokens and verifies them.
pub(super) struct Tokens {
    secret: hmac::Key,
    period: Duration,
}

// === impl Tokens ===

impl Tokens {
    /// Stands for no token.
    pub(super) const NONE: Token = [0; TOKEN_BYTES];

    /// Tokens under `secret`, for a lane that gossips each `interval`: peers must answer before a token expires.
    pub(super) fn new(secret: [u8; 32], interval: Duration) -> Self {
        let period = PERIOD_MIN.max(interval.saturating_mul(4));
        Self { secret: hmac::Key::new(hmac::HMAC_SHA256, &secret), period }
    }

    /// How long a token is valid at most: recordings up to that age must be recognised by their numbers.
    pub(super) fn life(&self) -> Duration {
        self.period.saturating_mul(2)
    }

    /// The token of `address` at `now`.
    pub(super) fn issue(&self, address: SocketAddr, now: Timestamp) -> Token {
        self.of(address, self.number(now))
    }

    /// Whether `token` was issued to `address` a short time before `now`.
    pub(super) fn is_fresh(&self, token: &Token, address: SocketAddr, now: Timestamp) -> bool {
        let number = self.number(now);
        let valid = |number| is_equal(&self.of(address, number), token);
        *token != Self::NONE && (valid(number) || number.checked_sub(1).is_some_and(valid))
    }

    fn number(&self, now: Timestamp) -> u64 {
        now.as_micros() / u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX).max(1)
    }

    fn of(&self, address: SocketAddr, number: u64) -> Token {
        // An IPv4 peer on an IPv6 socket is the same peer.
        let ip = match address.ip().to_canonical() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut about = Vec::with_capacity(26);
        about.extend_from_slice(&ip.octets());
        about.extend_from_slice(&address.port().to_le_bytes());
        about.extend_from_slice(&number.to_le_bytes());
        let tag = hmac::sign(&self.secret, &about);
        tag.as_ref().first_chunk().copied().unwrap_or(Self::NONE)
    }
}

/// Compares in constant time, so that timing does not reveal where two tokens differ.
fn is_equal(one: &Token, other: &Token) -> bool {
    std::hint::black_box(one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b))) == 0
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("period", &self.period).finish_non_exhaustive()
    }
}

/// The datagram numbers received from one sender. Each is accepted once, and one too old to track is refused.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// The highest number, plus one.
    next: u64,
    /// Bit `n` stands for the number `next - 1 - n`.
    seen: u128,
}

// === impl Window ===

impl Window {
    /// Records `number`; `false` when it came before, or is too far behind.
    pub(super) fn first_time(&mut self, number: u64) -> bool {
        if number >= self.next {
            let moved = (number - self.next).saturating_add(1);
            let moved = u32::try_from(moved).unwrap_or(u32::MAX);
            self.seen = self.seen.checked_shl(moved).unwrap_or(0) | 1;
            self.next = number.saturating_add(1);
            // A replay of the highest possible number could not be recognised.
            return number < u64::MAX;
        }
        let behind = self.next - 1 - number;
        if behind >= u64::from(u128::BITS) || self.seen >> behind & 1 == 1 {
            return false;
        }
        self.seen |= 1 << behind;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const ROUND: Duration = Duration::from_millis(50);

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn a_token_is_valid_for_its_address_for_a_while_and_for_no_other() {
        let (tokens, others) = (Tokens::new([1; 32], ROUND), Tokens::new([2; 32], ROUND));
        let now = Timestamp::from_millis(7_000);
        let token = tokens.issue(at(1), now);
        assert!(tokens.is_fresh(&token, at(1), now));
        assert!(tokens.is_fresh(&token, "[::ffff:10.0.0.1]:1".parse().unwrap_or(at(2)), now));
        assert!(tokens.is_fresh(&token, at(1), now + Duration::from_secs(4)));
        assert!(!tokens.is_fresh(&token, at(1), now + tokens.life()));
        assert!(!tokens.is_fresh(&token, at(2), now) && !others.is_fresh(&token, at(1), now));
        assert!(!tokens.is_fresh(&Tokens::NONE, at(1), now));
    }

    #[test]
    fn slow_gossip_has_longer_lived_tokens() {
        let tokens = Tokens::new([1; 32], Duration::from_secs(5));
        assert!(tokens.is_fresh(&tokens.issue(at(1), Timestamp::ZERO), at(1), Timestamp::from_millis(20_000)));
    }

    #[test]
    fn far_jumps_and_the_highest_number_are_handled() {
        let mut window = Window::default();
        assert!(window.first_time(0) && !window.first_time(0) && window.first_time(1_000_000));
        assert!(!window.first_time(0), "too far behind to track");
        assert!(window.first_time(999_999) && !window.first_time(999_999));
        assert!(!window.first_time(u64::MAX) && !window.first_time(u64::MAX));
    }

    proptest! {
        #[test]
        fn each_number_is_accepted_once(numbers in proptest::collection::vec(0u64..120, 1..300)) {
            let (mut window, mut seen) = (Window::default(), BTreeSet::new());
            for number in numbers {
                prop_assert_eq!(window.first_time(number), seen.insert(number));
            }
        }
    }
}
