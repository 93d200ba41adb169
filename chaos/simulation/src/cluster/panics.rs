//! Records panics as facts of the history, including those that a runtime or a supervisor catches.
//!
//! Must not know which replica panicked: the hook runs on the thread of the panic, and one thread runs a whole cluster.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

use super::recorder::Recorder;
use crate::history::{Fact, Source};

thread_local! {
    static RECORDER: RefCell<Option<Recorder>> = const { RefCell::new(None) };
}
static HOOK: Once = Once::new();

/// From now on, writes panics on this thread to `recorder`.
pub(super) fn tell(recorder: &Recorder) {
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let recorder =
                RECORDER.try_with(|recorder| recorder.try_borrow().ok().and_then(|recorder| recorder.clone()));
            if let Some(recorder) = recorder.ok().flatten() {
                recorder.write(Source::Environment, Fact::Panicked(info.to_string()));
            }
            before(info);
        }));
    });
    RECORDER.with(|slot| *slot.borrow_mut() = Some(recorder.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Entry;

    #[test]
    fn a_caught_panic_is_recorded() {
        let recorder = Recorder::default();
        tell(&recorder);
        let caught = panic::catch_unwind(|| panic!("a sum overflowed"));
        let entries = recorder.take();
        assert!(caught.is_err());
        let recorded = |entry: &Entry| matches!(&entry.fact, Fact::Panicked(why) if why.contains("a sum overflowed"));
        assert!(matches!(&entries[..], [entry] if recorded(entry)));
    }
}
