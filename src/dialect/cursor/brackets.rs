//! Which brackets are open, one bit each.
//!
//! Must not know text.

/// The deepest nesting that is read, in brackets.
pub const DEPTH_MAX: usize = 1024;

/// Which brackets are open: one bit each, set for objects.
#[derive(Default)]
pub(super) struct Brackets {
    bits: [u64; DEPTH_MAX / 64],
    depth: usize,
}

// === impl Brackets ===

impl Brackets {
    pub(super) fn is_empty(&self) -> bool {
        self.depth == 0
    }

    /// Opens a bracket; returns `false` and opens none where there are too many.
    pub(super) fn push(&mut self, object: bool) -> bool {
        if self.depth == DEPTH_MAX {
            return false;
        }
        let (word, bit) = (self.depth / 64, 1u64 << (self.depth % 64));
        if object {
            self.bits[word] |= bit;
        } else {
            self.bits[word] &= !bit;
        }
        self.depth += 1;
        true
    }

    pub(super) fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether the innermost bracket belongs to an object; `None` where none is open.
    pub(super) fn last(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.bits[at / 64] >> (at % 64) & 1 == 1)
    }
}
