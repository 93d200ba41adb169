//! The objects of one kind, by name, as a watch shows them: complete at every moment, also while they are listed anew.
//!
//! Must not know what the objects are.

use std::collections::BTreeMap;

/// One step of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change<T> {
    /// All objects are about to be listed.
    ListBegins,
    /// One object of the list.
    Listed(String, T),
    /// The list is complete.
    ListEnds,
    /// An object is new or changed.
    Set(String, T),
    /// An object is gone.
    Gone(String),
    /// Nothing that matters.
    Nothing,
}

/// The objects.
#[derive(Debug)]
pub(super) struct Objects<T> {
    /// `None` until they were listed for the first time.
    known: Option<BTreeMap<String, T>>,
    /// What a list has shown so far. It takes the place of `known` once it is complete.
    listed: BTreeMap<String, T>,
}

// === impl Objects ===

impl<T: PartialEq> Objects<T> {
    /// Applies `change`; returns whether the objects differ now.
    pub(super) fn take(&mut self, change: Change<T>) -> bool {
        match change {
            Change::ListBegins => {
                self.listed.clear();
                false
            }
            Change::Listed(name, object) => {
                self.listed.insert(name, object);
                false
            }
            Change::ListEnds => {
                let listed = Some(std::mem::take(&mut self.listed));
                let differs = self.known != listed;
                self.known = listed;
                differs
            }
            Change::Set(name, object) => {
                // What was never listed is not known by one of its objects.
                let Some(known) = self.known.as_mut() else { return false };
                let differs = known.get(&name) != Some(&object);
                known.insert(name, object);
                differs
            }
            Change::Nothing => false,
            Change::Gone(name) => self.known.as_mut().is_some_and(|known| known.remove(&name).is_some()),
        }
    }

    /// All of them; `None` before they were listed for the first time.
    pub(super) fn known(&self) -> Option<&BTreeMap<String, T>> {
        self.known.as_ref()
    }

    /// Forgets them, as if they had never been listed.
    pub(super) fn clear(&mut self) {
        (self.known, self.listed) = (None, BTreeMap::new());
    }
}

impl<T> Default for Objects<T> {
    fn default() -> Self {
        Self { known: None, listed: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::Change::*;
    use super::*;

    fn after(changes: impl IntoIterator<Item = Change<u8>>) -> Objects<u8> {
        let mut objects = Objects::default();
        for change in changes {
            objects.take(change);
        }
        objects
    }

    fn names(objects: &Objects<u8>) -> Option<String> {
        objects.known().map(|known| known.iter().map(|(name, value)| format!("{name}{value}")).collect())
    }

    #[test]
    fn nothing_is_known_before_the_first_list_is_complete() {
        assert_eq!(names(&after([])), None);
        assert_eq!(names(&after([ListBegins, Listed("a".into(), 1)])), None);
        assert_eq!(names(&after([ListBegins, ListEnds])), Some(String::new()));
    }

    #[test]
    fn a_list_takes_the_place_of_what_was_known_only_once_it_is_complete() {
        let mut objects = after([ListBegins, Listed("a".into(), 1), Listed("b".into(), 1), ListEnds]);
        assert!(!objects.take(ListBegins) && !objects.take(Listed("b".into(), 2)));
        assert_eq!(names(&objects).as_deref(), Some("a1b1"));
        // The list failed, and another one begins.
        assert!(!objects.take(ListBegins) && !objects.take(Listed("c".into(), 1)));
        assert_eq!(names(&objects).as_deref(), Some("a1b1"));
        assert!(objects.take(ListEnds));
        assert_eq!(names(&objects).as_deref(), Some("c1"));
    }

    #[test]
    fn only_what_differs_is_a_change() {
        let mut objects = after([ListBegins, Listed("a".into(), 1), ListEnds]);
        assert!(!objects.take(Set("a".into(), 1)) && objects.take(Set("a".into(), 2)));
        assert!(objects.take(Gone("a".into())) && !objects.take(Gone("a".into())));
        for change in [ListBegins, Listed("b".into(), 1)] {
            assert!(!objects.take(change));
        }
        assert!(objects.take(ListEnds));
        assert!(!objects.take(ListBegins) && !objects.take(Listed("b".into(), 1)) && !objects.take(ListEnds));
        objects.clear();
        assert_eq!(names(&objects), None);
    }
}
