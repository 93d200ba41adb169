//! Where a testbed keeps its files: logs, generated configurations, and Envoy itself.
//!
//! Must not know their content. A run's folder stays when the testbed ends, so that its logs can be read; the next
//! testbed removes the folders of testbeds that are gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::TestbedError;

/// The folders of one testbed.
#[derive(Clone, Debug)]
pub(super) struct RunFolder {
    /// Logs and generated files of this run.
    pub(super) run: PathBuf,
    /// Files that outlive a run, such as Envoy.
    pub(super) lasting: PathBuf,
}

// === impl RunFolder ===

impl RunFolder {
    /// Makes the run's folder: `dir` if there is one, else `testbed/PID` in the build's own folder.
    ///
    /// # Errors
    /// [`TestbedError::File`].
    pub(super) fn prepare(dir: Option<&Path>) -> Result<Self, TestbedError> {
        let lasting = build_folder()?;
        let run = match dir {
            Some(dir) => dir.to_owned(),
            None => {
                let folders = lasting.join("testbed");
                clear(&folders);
                folders.join(std::process::id().to_string())
            }
        };
        fs::create_dir_all(&run).map_err(TestbedError::file(format!("make the folder {}", run.display())))?;
        // Replicas get paths into it, and may have another working directory.
        let run = run.canonicalize().map_err(TestbedError::file(format!("enter the folder {}", run.display())))?;
        Ok(Self { run, lasting })
    }

    /// Writes a file of this run and returns its path.
    ///
    /// # Errors
    /// [`TestbedError::File`].
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf, TestbedError> {
        let path = self.run.join(name);
        fs::write(&path, text).map_err(TestbedError::file(format!("write {}", path.display())))?;
        Ok(path)
    }
}

/// The folder `target` that this program was built into, or `target` in the working directory.
fn build_folder() -> Result<PathBuf, TestbedError> {
    let here = std::env::current_exe().map_err(TestbedError::file("find this program's own file"))?;
    let built = here.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    Ok(built.map_or_else(|| PathBuf::from("target"), Path::to_owned))
}

/// Removes the folders of testbeds whose process is gone. What can't be removed stays.
fn clear(folders: &Path) {
    let Ok(entries) = fs::read_dir(folders) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.parse::<u32>().ok());
        if pid.is_some_and(|pid| !lives(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a process with this id is running, and this user may signal it.
pub(super) fn lives(pid: u32) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("kill -0 {pid}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_testbeds_that_are_gone_are_removed_and_others_stay() {
        let folders = std::env::temp_dir().join(format!("murmuration-netns-{}", std::process::id()));
        let mut gone = Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let (dead, own) = (gone.id().to_string(), std::process::id().to_string());
        for name in [dead.as_str(), own.as_str(), "notes"] {
            fs::create_dir_all(folders.join(name)).unwrap();
        }
        clear(&folders);
        let mut left: Vec<_> =
            fs::read_dir(&folders).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        fs::remove_dir_all(&folders).unwrap();
        let mut expected = vec![own, "notes".to_owned()];
        expected.sort();
        assert_eq!(left, expected);
    }
}
