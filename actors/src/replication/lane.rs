//! The two lanes by which facts travel, by name.

/// How facts arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// A peer stream.
    Stream,
    /// chitchat.
    Gossip,
}

// === impl Lane ===

impl Lane {
    /// Its spelling in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Gossip => "gossip",
        }
    }
}
