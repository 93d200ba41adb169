//! The salt under which a tier hashes prompts when none is configured.
//!
//! Must not know how claims travel, nor what a salt is used for. The oldest claim wins, by the incarnation of the
//! replica that drew it. This compares numbers of two clocks, but any order that all replicas share would do.

use std::fmt;
use std::str::FromStr;

use crate::id::Incarnation;

/// A salt and the replica that drew it. The lowest known claim has the tier's salt.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SaltClaim {
    /// The incarnation of the replica that drew it.
    pub drawn_by: Incarnation,
    /// The salt.
    pub salt: u128,
}

/// The text is not a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a salt's claim is an incarnation, a colon and 32 hexadecimal digits")]
pub struct InvalidSaltClaim;

// === impl SaltClaim ===

impl SaltClaim {
    /// The claim to use once `others` are known: the lowest of them and `self`.
    pub fn agreed(self, others: impl IntoIterator<Item = Self>) -> Self {
        others.into_iter().fold(self, Self::min)
    }
}

/// The text form that peers exchange.
impl fmt::Display for SaltClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:032x}", self.drawn_by, self.salt)
    }
}

impl FromStr for SaltClaim {
    type Err = InvalidSaltClaim;

    fn from_str(text: &str) -> Result<Self, InvalidSaltClaim> {
        let (drawn_by, salt) = text.split_once(':').ok_or(InvalidSaltClaim)?;
        if salt.len() != 32 || !salt.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidSaltClaim);
        }
        let drawn_by = Incarnation(drawn_by.parse().map_err(|_| InvalidSaltClaim)?);
        u128::from_str_radix(salt, 16).map(|salt| Self { drawn_by, salt }).map_err(|_| InvalidSaltClaim)
    }
}

/// A salt is secret, so it is not shown.
impl fmt::Debug for SaltClaim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SaltClaim").field("drawn_by", &self.drawn_by).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims() -> impl Strategy<Value = SaltClaim> {
        (0u64..4, 0u128..4).prop_map(|(drawn_by, salt)| SaltClaim { drawn_by: Incarnation(drawn_by), salt })
    }

    proptest! {
        #[test]
        fn claims_agree_in_any_order(claims in proptest::collection::vec(claims(), 1..8), turn in 0usize..8) {
            let mut turned = claims.clone();
            turned.rotate_left(turn % claims.len());
            let agreed = |claims: &[SaltClaim]| claims[0].agreed(claims[1..].iter().copied());
            prop_assert_eq!(agreed(&claims), agreed(&turned));
            prop_assert_eq!(agreed(&claims), agreed(&claims).agreed(turned));
        }

        #[test]
        fn a_claim_survives_text_and_back(drawn_by in any::<u64>(), salt in any::<u128>()) {
            let claim = SaltClaim { drawn_by: Incarnation(drawn_by), salt };
            prop_assert_eq!(claim.to_string().parse(), Ok(claim));
        }

        #[test]
        fn text_that_is_no_claim_is_refused(text in ".{0,60}") {
            if let Ok(claim) = text.parse::<SaltClaim>() {
                prop_assert_eq!(claim.to_string().parse(), Ok(claim));
            }
        }
    }

    #[test]
    fn the_salt_is_never_shown() {
        let claim = SaltClaim { drawn_by: Incarnation(1), salt: 0xfeed };
        assert!(!format!("{claim:?}").contains("feed") && !format!("{claim:?}").contains("65261"));
        for text in
            ["", "1", "1:", "1:feed", "x:0000000000000000000000000000feed", "1:+000000000000000000000000000feed"]
        {
            assert_eq!(text.parse::<SaltClaim>(), Err(InvalidSaltClaim), "{text:?}");
        }
    }
}
