//! The newest value of one writer, for a reader that gets one notice while there is something to read.
//!
//! Mailboxes have no bound of their own. So each writer keeps at most one notice under way, and a newer value replaces
//! an unread one. The value survives its reader: when a mailbox is gone or refuses the notice, the next value gets a
//! new notice. Must not know what the value is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The writer's side.
#[derive(Debug)]
pub struct LatestValue<T> {
    cell: Arc<Mutex<Cell<T>>>,
}

/// A notice that there is a value to read. When it is dropped unread, the next value gets a new notice.
#[derive(Debug)]
pub struct Notice<T> {
    cell: Arc<Mutex<Cell<T>>>,
    read: bool,
}

#[derive(Debug)]
struct Cell<T> {
    value: Option<T>,
    /// Whether a notice is under way.
    noticed: bool,
}

// === impl LatestValue ===

impl<T> LatestValue<T> {
    /// No value yet.
    pub fn new() -> Self {
        Self { cell: Arc::new(Mutex::new(Cell { value: None, noticed: false })) }
    }

    /// Replaces the value. `Some` is a notice to send to the reader. `None` means that a notice is still under way and
    /// will return the newer value.
    pub fn put(&self, value: T) -> Option<Notice<T>> {
        let mut cell = lock(&self.cell);
        cell.value = Some(value);
        let first = !std::mem::replace(&mut cell.noticed, true);
        first.then(|| Notice { cell: self.cell.clone(), read: false })
    }
}

impl<T> Default for LatestValue<T> {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Notice ===

impl<T> Notice<T> {
    /// Takes the newest value.
    pub fn take(mut self) -> Option<T> {
        self.read = true;
        // In one step under the lock: a value that is put after this gets a notice of its own.
        let mut cell = lock(&self.cell);
        cell.noticed = false;
        cell.value.take()
    }
}

impl<T> Drop for Notice<T> {
    fn drop(&mut self) {
        // After a read, another notice may be under way.
        if !self.read {
            lock(&self.cell).noticed = false;
        }
    }
}

/// Ignores poisoning: every change of a cell is complete before anything can panic.
fn lock<T>(cell: &Mutex<Cell<T>>) -> MutexGuard<'_, Cell<T>> {
    cell.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_one_notice_is_under_way_and_it_gives_the_newest_value() {
        let latest = LatestValue::new();
        let notice = latest.put(1).unwrap();
        assert!(latest.put(2).is_none());
        assert!(latest.put(3).is_none());
        assert_eq!(notice.take(), Some(3));
        assert_eq!(latest.put(4).unwrap().take(), Some(4));
    }

    #[test]
    fn a_notice_that_is_lost_with_its_reader_lets_the_next_value_be_noticed() {
        let latest = LatestValue::new();
        let mailbox = vec![latest.put(1).unwrap()];
        assert!(latest.put(2).is_none());
        drop(mailbox);
        assert_eq!(latest.put(3).unwrap().take(), Some(3));
    }

    #[test]
    fn a_value_that_is_put_while_the_last_one_is_read_is_not_lost() {
        let latest = LatestValue::new();
        let first = latest.put(1).unwrap();
        assert_eq!(first.take(), Some(1));
        let second = latest.put(2).unwrap();
        assert!(latest.put(3).is_none());
        assert_eq!(second.take(), Some(3));
    }
}
