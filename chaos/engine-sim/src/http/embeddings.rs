//! Embeddings of images and other media, in a folder that all engines of a tier share: vLLM's ECExampleConnector.
//!
//! Must not know requests. An embedding is a file of sixteen hexadecimal digits, which follow from the item, so that an
//! engine notices one that is not the item's.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use murmuration::chance::mix;

/// Files that one engine writes; what comes after them is encoded by the engine that needs it.
const FILES_MAX: usize = 4_096;

/// The folder.
#[derive(Debug)]
pub(super) struct Embeddings {
    folder: PathBuf,
    saved: AtomicUsize,
}

// === impl Embeddings ===

impl Embeddings {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), saved: AtomicUsize::new(0) }
    }

    /// Stores the embedding of an item, named by its hash. Returns whether it is there.
    pub(super) fn save(&self, item: u64) -> bool {
        let path = self.path(item);
        if path.exists() {
            return true;
        }
        let nth = self.saved.fetch_add(1, Ordering::Relaxed);
        if nth >= FILES_MAX {
            return false;
        }
        // Renamed, so that no engine reads half of it.
        let beside = path.with_extension(format!("{}-{nth}", std::process::id()));
        fs::write(&beside, format!("{:016x}", embedding(item))).and_then(|()| fs::rename(&beside, &path)).is_ok()
    }

    /// How the stored embedding of an item differs from what it should be; `None` if there is none.
    pub(super) fn load(&self, item: u64) -> Option<u64> {
        let text = fs::read_to_string(self.path(item)).ok()?;
        // What can't be read is wrong, too.
        Some(u64::from_str_radix(&text, 16).unwrap_or(1) ^ embedding(item))
    }

    fn path(&self, item: u64) -> PathBuf {
        self.folder.join(format!("{item:016x}.embedding"))
    }
}

fn embedding(item: u64) -> u64 {
    mix(item ^ 0x00e3_be0d)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_one_engine_stores_another_one_loads_and_wrong_files_show() {
        let folder = std::env::temp_dir().join(format!("murmuration-embeddings-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (encoder, other) = (Embeddings::new(&folder), Embeddings::new(&folder));
        assert_eq!(other.load(7), None);
        assert!(encoder.save(7) && encoder.save(7));
        assert_eq!(other.load(7), Some(0));
        fs::copy(encoder.path(7), encoder.path(8)).unwrap();
        assert!(other.load(8).is_some_and(|difference| difference != 0));
        fs::remove_dir_all(&folder).unwrap();
        assert!(!encoder.save(9), "without a folder nothing is stored");
    }
}
