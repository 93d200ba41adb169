//! The newest value of one writer, for a reader that is told once that there is something to read.
//!
//! Mailboxes have no bound of their own, so each writer keeps one notice under way at most, and a newer value replaces one
//! that was not read. Must not know what the value is. It survives its reader: a notice that is lost, because the mailbox
//! that held it is gone or could not take it, counts as delivered nowhere, and the next value is noticed again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The writer's side.
#[derive(Debug)]
pub struct LatestValue<T> {
    cell: Arc<Mutex<Cell<T>>>,
}

/// Says that there is a value to read. Dropped unread, it lets the next value be noticed.
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

    /// Replaces the value. `Some` is a notice to be sent to the reader; `None` says that one is still under way and will
    /// give the newer value.
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
        // In one step: a value that is put from now on has a notice of its own.
        let mut cell = lock(&self.cell);
        cell.noticed = false;
        cell.value.take()
    }
}

impl<T> Drop for Notice<T> {
    fn drop(&mut self) {
        // After it was read, another notice may be under way.
        if !self.read {
            lock(&self.cell).noticed = false;
        }
    }
}

/// Every change of a cell is whole before anything in it can panic.
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
