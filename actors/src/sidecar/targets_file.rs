//! The targets that headers may name: those of the command line, and those of a file that is read again when it changes.
//!
//! Must not know requests.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use murmuration::event::Event;
use tokio::sync::watch;
use tokio::time::sleep;

use super::allowed::AllowedTargets;

/// How often the file is read.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The targets of `file`.
///
/// # Errors
/// One sentence that names the file.
pub(super) fn read(file: &Path) -> Result<AllowedTargets, String> {
    let failed = |why: &dyn std::fmt::Display| format!("--allowed-targets-file {}: {why}", file.display());
    let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    let mut text = String::new();
    opened.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(failed(&format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    AllowedTargets::read(&text).map_err(|why| failed(&why))
}

/// Follows `file`, for ever. A file that can't be read is reported once, and what was known stays in force.
pub(super) async fn follow(
    file: PathBuf,
    given: AllowedTargets,
    allowed: Arc<watch::Sender<Arc<AllowedTargets>>>,
    emit: impl Fn(Event),
) {
    let mut reported = None;
    loop {
        sleep(LOOK_INTERVAL).await;
        match read(&file) {
            Ok(read) => {
                reported = None;
                let all = Arc::new(given.clone().and(read));
                let changed = allowed.send_if_modified(|known| {
                    let changed = **known != *all;
                    *known = all;
                    changed
                });
                if changed {
                    emit(Event::Reloaded(format!("the allowed targets in {}", file.display())));
                }
            }
            Err(why) => {
                if reported.as_ref() != Some(&why) {
                    emit(Event::ReloadFailed(why.clone()));
                    reported = Some(why);
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use tokio::task::JoinSet;

    use super::super::target::Target;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_changed_file_is_followed_and_a_wrong_one_changes_nothing() {
        let file = std::env::temp_dir().join(format!("murmuration-targets-{}", std::process::id()));
        std::fs::write(&file, "10.0.0.7:8000\n").unwrap();
        let given = AllowedTargets::read("a:1").unwrap();
        let (allowed, known) = watch::channel(Arc::new(given.clone().and(read(&file).unwrap())));
        let events = Arc::<Mutex<Vec<Event>>>::default();
        let (observed, mut following) = (events.clone(), JoinSet::new());
        following
            .spawn(follow(file.clone(), given, Arc::new(allowed), move |event| observed.lock().unwrap().push(event)));
        let allows = |target: &str| known.borrow().allows(&Target::read(target).unwrap());
        sleep(3 * LOOK_INTERVAL).await;
        assert!(allows("10.0.0.7:8000") && allows("a:1") && events.lock().unwrap().is_empty());
        std::fs::write(&file, "10.0.0.8:8000\n").unwrap();
        sleep(2 * LOOK_INTERVAL).await;
        assert!(allows("10.0.0.8:8000") && allows("a:1") && !allows("10.0.0.7:8000"));
        std::fs::write(&file, "no target\n").unwrap();
        sleep(3 * LOOK_INTERVAL).await;
        assert!(allows("10.0.0.8:8000"), "what was known stays in force");
        let events = events.lock().unwrap().clone();
        assert!(matches!(&events[..], [Event::Reloaded(_), Event::ReloadFailed(_)]), "{events:?}");
        std::fs::remove_file(file).unwrap();
    }
}
