//! One outstanding letter for each sender: mailboxes have no bound of their own, so senders keep one.
//!
//! Must not know what is carried. While a letter waits to be collected, a newer one replaces what is inside.

use std::sync::{Arc, Mutex, PoisonError};

/// The sender's side: what waits to be collected, if anything.
#[derive(Debug)]
pub struct Courier<T> {
    bag: Arc<Mutex<Option<T>>>,
}

/// The receiver's side of one letter.
#[derive(Debug)]
pub struct Letter<T> {
    bag: Arc<Mutex<Option<T>>>,
}

// === impl Courier ===

impl<T> Courier<T> {
    /// A courier with an empty bag.
    pub fn new() -> Self {
        Self { bag: Arc::new(Mutex::new(None)) }
    }

    /// Puts `content` into the bag. `Some` is a letter to be posted; `None` says that one is still under way and will
    /// carry the newer content.
    pub fn post(&self, content: T) -> Option<Letter<T>> {
        let mut bag = self.bag.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = bag.replace(content).is_some();
        (!waiting).then(|| Letter { bag: self.bag.clone() })
    }
}

impl<T> Default for Courier<T> {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Letter ===

impl<T> Letter<T> {
    /// Takes what is inside by now.
    pub fn open(self) -> Option<T> {
        self.bag.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_one_letter_is_under_way_and_it_carries_the_newest() {
        let courier = Courier::new();
        let letter = courier.post(1).unwrap();
        assert!(courier.post(2).is_none());
        assert!(courier.post(3).is_none());
        assert_eq!(letter.open(), Some(3));
        assert_eq!(courier.post(4).unwrap().open(), Some(4));
    }
}
