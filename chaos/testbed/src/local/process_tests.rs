//! Children that are shell scripts.

#![allow(clippy::unwrap_used)]

use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn log(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("murmuration-{name}-{}.log", std::process::id()));
    let _ = fs::remove_file(&path);
    path
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

fn lives(pid: &str) -> bool {
    std::process::Command::new("sh").args(["-c", &format!("kill -0 {pid} 2>/dev/null")]).status().unwrap().success()
}

#[tokio::test]
async fn the_error_of_a_child_that_ends_early_quotes_its_log() {
    let log = log("early");
    let command = shell("echo 'port 1 is taken' >&2; exit 3");
    let error = Process::start_and_read_line("engine-0", command, &log, PATIENCE).await.unwrap_err().to_string();
    fs::remove_file(log).unwrap();
    assert!(error.contains("engine-0 ended (exit status: 3)") && error.contains("  port 1 is taken"), "{error}");
}

#[tokio::test]
async fn the_first_line_is_returned_and_the_others_are_logged() {
    let log = log("lines");
    let command = shell("echo ready; echo more; read -r _");
    let (mut process, line) = Process::start_and_read_line("engine-0", command, &log, PATIENCE).await.unwrap();
    assert_eq!(line, "ready");
    assert!(process.end().is_none());
    assert!(process.gone().await);
    while !fs::read_to_string(&log).unwrap().contains("more") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fs::remove_file(log).unwrap();
}

#[tokio::test]
async fn a_guarded_child_that_never_reads_its_input_ends_when_the_input_does() {
    let log = log("guard");
    let mut process =
        Process::start_guarded("envoy", Path::new("sh"), &["-c", "echo $$; exec sleep 600"], &log).unwrap();
    let pid = loop {
        let text = fs::read_to_string(&log).unwrap();
        if text.ends_with('\n') {
            break text.trim().to_owned();
        }
        process.still_lives().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(lives(&pid));
    assert!(process.gone().await);
    assert!(!lives(&pid));
    fs::remove_file(log).unwrap();
}

#[tokio::test]
async fn a_guarded_child_that_ends_by_itself_ends_its_guard() {
    let log = log("guarded-end");
    let mut process = Process::start_guarded("envoy", Path::new("sh"), &["-c", "exit 7"], &log).unwrap();
    let status = process.child.wait().await.unwrap();
    assert_eq!(status.code(), Some(7));
    fs::remove_file(log).unwrap();
}
