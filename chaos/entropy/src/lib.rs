//! Chance that follows from a seed, for all that a thread does.
//!
//! Must not know what chance is used for. Hash maps, `rand` and everything else on Linux ask the C library's `getrandom` for
//! entropy. This crate is that function: a thread that was seeded gets numbers that follow from its seed, every other thread gets
//! the kernel's. It is the only unsafe code of the workspace, and only programs that simulate link it.

use std::cell::Cell;
use std::ffi::{c_int, c_long, c_uint, c_void};

#[cfg(target_arch = "x86_64")]
const GETRANDOM: c_long = 318;
#[cfg(target_arch = "aarch64")]
const GETRANDOM: c_long = 278;

thread_local! {
    static DICE: Cell<Option<u64>> = const { Cell::new(None) };
}

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
}

/// Lets all chance of this thread follow from `seed`, from now on. Hash maps draw their keys when a thread makes its first one, so
/// only a thread that has done nothing yet is wholly governed by it.
pub fn seed(seed: u64) {
    DICE.set(Some(seed));
}

/// The next 64 bits of the thread's dice; `None` where it was not seeded.
fn roll() -> Option<u64> {
    // A thread that ends has no dice any more, and asks the kernel.
    DICE.try_with(|dice| {
        let state = dice.get()?.wrapping_add(0x9e37_79b9_7f4a_7c15);
        dice.set(Some(state));
        // SplitMix64.
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    })
    .ok()
    .flatten()
}

/// The C library's `getrandom`, in its place.
///
/// # Safety
/// As the original's: `buffer` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, length: usize, flags: c_uint) -> isize {
    let mut written = 0;
    while written < length {
        let Some(bits) = roll() else {
            // SAFETY: the caller's promise for `buffer` and `length` is the kernel's condition, and the wrapper sets `errno`.
            return unsafe { syscall(GETRANDOM, buffer, length, flags as c_int) } as isize;
        };
        let count = (length - written).min(8);
        let bytes = bits.to_le_bytes();
        // SAFETY: `written + count <= length`, and the caller promised that many writable bytes at `buffer`; the source is a
        // local array of eight bytes, so the two don't overlap.
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

    /// What a thread's first hash map hashes one to.
    fn hashed(seed: Option<u64>) -> u64 {
        let thread = thread::spawn(move || {
            seed.inspect(|seed| super::seed(*seed));
            RandomState::new().hash_one(1)
        });
        thread.join().unwrap_or_default()
    }

    #[test]
    fn a_seeded_thread_has_its_seeds_chance_and_others_have_the_kernels() {
        assert_eq!(hashed(Some(7)), hashed(Some(7)));
        assert_ne!(hashed(Some(7)), hashed(Some(8)));
        assert_ne!(hashed(None), hashed(None));
    }
}
