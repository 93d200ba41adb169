//! The key under which prompts are hashed: given, or agreed on by the tier.
//!
//! Must not know how a tier agrees, nor how prompts are hashed.

use std::fmt;

/// The key under which prompts are hashed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum PromptSalt {
    /// This one, which is configured on all replicas of the tier.
    Given(u128),
    /// The one that the tier agrees on by gossip. This value was drawn at random, for a tier that has none.
    Agreed(u128),
}

// === impl PromptSalt ===

impl PromptSalt {
    /// The value that was drawn for a tier that has none; `None` where the salt was given.
    pub(crate) fn drawn(self) -> Option<u128> {
        match self {
            Self::Given(_) => None,
            Self::Agreed(drawn) => Some(drawn),
        }
    }

    /// The salt until another one is agreed on.
    pub(crate) fn first(self) -> u128 {
        match self {
            Self::Given(salt) | Self::Agreed(salt) => salt,
        }
    }
}

/// A salt is a secret, so it is not shown.
impl fmt::Debug for PromptSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Given(_)) { "Given" } else { "Agreed" })
    }
}
