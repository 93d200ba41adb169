//! Where a town keeps its files: logs, generated configurations, and Envoy itself.
//!
//! Must not know what is in them. A run's folder stays when the town ends, so that its logs can be read; the next town
//! clears the folders of those that are gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TownError;

/// The folders of one town.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    /// Logs and generated files of this run.
    pub(super) run: PathBuf,
    /// Things that outlive a run.
    pub(super) lasting: PathBuf,
}

// === impl Ground ===

impl Ground {
    /// Makes the run's folder: `dir` if there is one, else `town/PID` in the build's own folder.
    ///
    /// # Errors
    /// [`TownError::File`].
    pub(super) fn prepare(dir: Option<&Path>) -> Result<Self, TownError> {
        let lasting = build_folder()?;
        let run = match dir {
            Some(dir) => dir.to_owned(),
            None => {
                let towns = lasting.join("town");
                clear(&towns);
                towns.join(std::process::id().to_string())
            }
        };
        fs::create_dir_all(&run).map_err(TownError::file(format!("make the folder {}", run.display())))?;
        // The replicas get paths into it and may not share our working directory for ever.
        let run = run.canonicalize().map_err(TownError::file(format!("enter the folder {}", run.display())))?;
        Ok(Self { run, lasting })
    }

    /// Writes a file of this run and says where it is.
    ///
    /// # Errors
    /// [`TownError::File`].
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, TownError> {
        let path = self.run.join(name);
        fs::write(&path, text).map_err(TownError::file(format!("write {}", path.display())))?;
        Ok(path)
    }
}

/// The folder `target` that this program was built into, or `target` where we are.
fn build_folder() -> Result<PathBuf, TownError> {
    let here = std::env::current_exe().map_err(TownError::file("find this program's own file"))?;
    let built = here.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(built.map_or_else(|| PathBuf::from("target"), Path::to_owned))
}

/// Removes the folders of towns whose process is gone. What can't be removed stays.
fn clear(towns: &Path) {
    let Ok(entries) = fs::read_dir(towns) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !lives(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a process with this id lives, and is ours to signal.
pub(super) fn lives(pid: u32) -> bool {
    let mut asking = Command::new("sh");
    asking.args(["-c", &format!("kill -0 {pid}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    asking.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_towns_that_are_gone_are_cleared_and_others_stay() {
        let towns = std::env::temp_dir().join(format!("murmuration-ground-{}", std::process::id()));
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let (dead, own) = (gone.id().to_string(), std::process::id().to_string());
        for name in [dead.as_str(), own.as_str(), "notes"] {
            fs::create_dir_all(towns.join(name)).unwrap();
        }
        clear(&towns);
        let mut left: Vec<_> =
            fs::read_dir(&towns).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        fs::remove_dir_all(&towns).unwrap();
        let mut expected = vec![own, "notes".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
