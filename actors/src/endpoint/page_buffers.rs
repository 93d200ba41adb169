//! Buffers for pages, shared by all scrapers of a process: each needs one only from a page's first byte until the page
//! is read, so thousands of engines share a few.
//!
//! Must not know what is on a page.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers that are kept, at most.
const KEPT_MAX: usize = 16;
/// Bytes of a buffer that is kept, at most. A real page has about 55 KB.
const KEPT_BYTES_MAX: usize = 256 * 1024;

static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer.
pub(super) fn take() -> Vec<u8> {
    free().pop().unwrap_or_default()
}

/// Gives a buffer back.
pub(super) fn give_back(mut buffer: Vec<u8>) {
    buffer.clear();
    let mut free = free();
    if free.len() < KEPT_MAX && buffer.capacity() <= KEPT_BYTES_MAX {
        free.push(buffer);
    }
}

fn free() -> MutexGuard<'static, Vec<Vec<u8>>> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_and_few_are_kept() {
        for _ in 0..2 * KEPT_MAX {
            give_back(vec![1; 64]);
        }
        give_back(vec![1; KEPT_BYTES_MAX + 1]);
        assert!(free().len() <= KEPT_MAX);
        assert!(free().iter().all(|buffer| buffer.is_empty() && buffer.capacity() <= KEPT_BYTES_MAX));
        assert!(take().is_empty());
    }
}
