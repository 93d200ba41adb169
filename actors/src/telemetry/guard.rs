//! A bound on the values of labels that clients choose.
//!
//! Must not know metrics. The first thousand values of a label are kept; later ones are counted as `other`.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Values that one label may take.
pub(super) const VALUES_MAX: usize = 1000;
/// The name of all further ones.
const OTHER: &str = "other";

/// The values that a label has taken.
#[derive(Debug, Default)]
pub(super) struct Guard {
    known: Mutex<BTreeSet<String>>,
}

// === impl Guard ===

impl Guard {
    /// `value`, or `other` when the label has taken too many already.
    pub(super) fn admit<'a>(&self, value: &'a str) -> &'a str {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) {
            return value;
        }
        if known.len() >= VALUES_MAX {
            return OTHER;
        }
        known.insert(value.to_owned());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_first_keeps_its_name_and_the_rest_are_others() {
        let guard = Guard::default();
        for i in 0..VALUES_MAX {
            let name = format!("m{i}");
            assert_eq!(guard.admit(&name), name);
        }
        assert_eq!(guard.admit("one-more"), "other");
        assert_eq!(guard.admit("m0"), "m0");
    }
}
