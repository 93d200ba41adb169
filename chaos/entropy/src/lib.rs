//! Replaces the entropy of a thread with numbers that are derived from a seed.
//!
//! Must not know what the entropy is used for. On Linux, hash maps, `rand` and everything else get entropy from the C
//! library's `getrandom`. This crate defines that function: a seeded thread gets numbers derived from its seed, every
//! other thread gets the kernel's. It is the only unsafe code of the workspace, and only programs that simulate link
//! it.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};

#[cfg(target_arch = "x86_64")]
const GETRANDOM: c_long = 318;
#[cfg(target_arch = "aarch64")]
const GETRANDOM: c_long = 278;

thread_local! {
    static STATE: Cell<Option<u64>> = const { Cell::new(None) };
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Derives all further entropy of this thread from `seed`. A thread draws its hash map keys when it creates its first
/// map, so only a thread that has done nothing yet depends on the seed alone.
pub fn seed(seed: u64) {
    STATE.set(Some(seed));
}

/// The next 64 bits derived from the thread's seed; `None` if it was not seeded.
fn next_bits() -> Option<u64> {
    // The state of a thread that is ending is already gone; it asks the kernel.
    STATE
        .try_with(|cell| {
            let state = cell.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
            cell.set(Some(state));
            // SplitMix64.
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            Some(mixed ^ (mixed >> 31))
        })
        .ok()
        .flatten()
}

/// Replaces the C library's `getrandom`.
///
/// # Safety
/// As for the original: `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let mut written = 0;
    while written < length {
        let Some(bits) = next_bits() else {
            // SAFETY: the caller guarantees what the kernel requires of `buffer` and `length`, and the wrapper sets
            // `errno`.
            return unsafe { syscall(GETRANDOM, buffer, length, flags as c_int) } as isize;
        };
        let count = (length - written).min(8);
        let bytes = bits.to_le_bytes();
        // SAFETY: `written + count <= length`, and the caller guarantees that many writable bytes at `buffer`; the
        // source is a local array of eight bytes, so the two don't overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), buffer.cast::<u8>().add(written), count) };
        written += count;
    }
    length as isize
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    use std::thread;

    /// The hash of one under the keys of a new thread's first hash map.
    fn hashed(seed: Option<u64>) -> u64 {
        let thread = thread::spawn(move || {
            seed.inspect(|seed| super::seed(*seed));
            RandomState::new().hash_one(1)
        });
        thread.join().unwrap_or_default()
    }

    #[test]
    fn a_seeded_thread_gets_the_seeds_entropy_and_others_the_kernels() {
        assert_eq!(hashed(Some(7)), hashed(Some(7)));
        assert_ne!(hashed(Some(7)), hashed(Some(8)));
        assert_ne!(hashed(None), hashed(None));
    }
}
