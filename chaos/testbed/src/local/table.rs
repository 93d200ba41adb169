//! What runs where, for people: a pure function.
//!
//! Must not know terminals.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::{EngineSpot, ReplicaSpot, Testbed};

/// Width of the first column.
const NAME_WIDTH: usize = 11;

/// The table of a testbed that has just started, and commands to try. `program` is how this program was called.
pub(super) fn table(testbed: &Testbed, program: &str) -> String {
    let mut text = String::new();
    let entrances = [
        ("requests", testbed.public, "through the tier"),
        ("", testbed.direct, "past the tier, engines in turn"),
        ("page", testbed.page, "the tier as a picture"),
        ("envoy", testbed.envoy_admin, "Envoy's admin pages"),
    ];
    for (name, at, what) in entrances {
        row(&mut text, name, &format!("http://{at}"), what);
    }
    replicas(&mut text, &testbed.replicas);
    engines(&mut text, &testbed.engines);
    row(&mut text, "logs", &testbed.run.display().to_string(), "");
    text.push('\n');
    text.push_str(&hints(testbed.public, &testbed.model, testbed.replicas.first(), program));
    text
}

fn replicas(text: &mut String, replicas: &[ReplicaSpot]) {
    for one in replicas {
        let pid = pid(one.pid);
        row(text, &one.name, &format!("http://{}", one.admin), &format!("metrics; ext-proc {}{pid}", one.ext_proc));
    }
}

fn engines(text: &mut String, engines: &[EngineSpot]) {
    for one in engines {
        let kind = if one.pid.is_some() { "emulated" } else { "real" };
        row(text, &one.name, &format!("http://{}", one.engine), &format!("{kind}{}", pid(one.pid)));
        if let Some(sidecar) = &one.sidecar {
            let what = format!("in front of {}{}", one.name, pid(sidecar.pid));
            row(text, &sidecar.name, &format!("http://{}", sidecar.address), &what);
        }
    }
}

fn pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", pid {pid}"))
}

fn row(text: &mut String, name: &str, place: &str, what: &str) {
    let line = format!("  {name:NAME_WIDTH$} {place:30} {what}");
    let _ = writeln!(text, "{}", line.trim_end());
}

fn hints(public: SocketAddr, model: &str, replica: Option<&ReplicaSpot>, program: &str) -> String {
    let body = serde_json::json!({
        "model": model,
        "messages": [{ "role": "user", "content": "Why do starlings fly in flocks?" }],
        "stream": true,
        "max_tokens": 24,
    });
    let mut text = format!(
        "Try it:\n  curl -N http://{public}/v1/chat/completions -H 'content-type: application/json' \\\n    -d '{body}'\n"
    );
    if let Some(replica) = replica {
        let admin = replica.admin;
        let _ = write!(
            text,
            "See why a request went to its endpoint (each replica keeps its own decisions):\n  {program} explain \
             --admin {admin}\n  {program} explain --admin {admin} REQUEST-ID\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_spaces() {
        let mut text = String::new();
        let replica = ReplicaSpot {
            name: "replica-0".to_owned(),
            zone: String::new(),
            ext_proc: at(9002),
            health: at(9003),
            admin: at(9090),
            gossip: at(9004),
            peers: at(9005),
            space: None,
            pid: Some(7),
        };
        replicas(&mut text, &[replica]);
        let engine = EngineSpot::at("engine-0".to_owned(), at(8000), None, None);
        engines(&mut text, &[engine]);
        row(&mut text, "logs", "target/testbed/7", "");
        let expected = "  replica-0   http://127.0.0.1:9090          metrics; ext-proc 127.0.0.1:9002, pid 7\n  \
                        engine-0    http://127.0.0.1:8000          real\n  logs        target/testbed/7\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_model_name_can_not_break_out_of_the_hint() {
        let text = hints(at(8080), "a\"b", None, "testbed");
        assert!(text.contains(r#""model":"a\"b""#), "{text}");
    }
}
