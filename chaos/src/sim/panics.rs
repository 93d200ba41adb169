//! Panics become facts, also those that a runtime or a supervisor catches.
//!
//! Must not know who panicked: a hook is told on the thread of the panic, and one thread runs a whole town.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use super::scribe::Scribe;
use crate::chronicle::{Fact, Witness};

thread_local! {
    static SCRIBE: RefCell<Option<Scribe>> = const { RefCell::new(None) };
}
static HOOK: Once = Once::new();

/// From now on, panics on this thread are written by `scribe`.
pub(super) fn tell(scribe: &Scribe) {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let scribe = SCRIBE.try_with(|scribe| scribe.try_borrow().ok().and_then(|scribe| scribe.clone()));
            if let Some(scribe) = scribe.ok().flatten() {
                scribe.write(Witness::World, Fact::Panicked(info.to_string()));
            }
            before(info);
        }));
    });
    SCRIBE.with(|mine| *mine.borrow_mut() = Some(scribe.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_somebody_catches_is_told_all_the_same() {
        let scribe = Scribe::default();
        tell(&scribe);
        let caught = panic::catch_unwind(|| panic!("a sum overflowed"));
        let told = scribe.take();
        assert!(caught.is_err());
        assert!(
            matches!(&told[..], [entry] if matches!(&entry.fact, Fact::Panicked(why) if why.contains("a sum overflowed")))
        );
    }
}
