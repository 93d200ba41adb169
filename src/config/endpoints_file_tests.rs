//! Tests of the endpoints file reader.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

fn entry(name: &str, namespace: &str, host: &str, port: u16) -> EndpointEntry {
    let (name, namespace, host) = (name.to_owned(), namespace.to_owned(), host.to_owned());
    EndpointEntry { name, namespace, host, port, labels: BTreeMap::new() }
}

fn error_about(address: &str) -> String {
    read(&format!("endpoints:\n- {{name: a, address: {address:?}, port: 80}}\n"), "e.yaml").unwrap_err().to_string()
}

#[test]
fn endpoints_and_objectives_are_read() {
    let text = "
endpoints:
- name: vllm-0
  address: 10.0.0.7
  port: \"8000\"
  labels: {llm-d.ai/role: decode}
- {name: vllm-1, namespace: prod, address: \"[fd00::7]\", port: 8001}
- {name: vllm-2, namespace: prod, address: \"fd00::8\", port: 8001}
- {name: vllm-3, namespace: prod, address: engine-3.prod.svc, port: 8001}
objectives:
- {name: batch, priority: -2}
";
    let mut first = entry("vllm-0", "default", "10.0.0.7", 8000);
    first.labels.insert("llm-d.ai/role".to_owned(), "decode".to_owned());
    let file = read(text, "e.yaml").unwrap();
    let rest = ["fd00::7", "fd00::8", "engine-3.prod.svc"];
    let rest = rest.iter().enumerate().map(|(i, host)| entry(&format!("vllm-{}", i + 1), "prod", host, 8001));
    assert_eq!(file.endpoints, std::iter::once(first).chain(rest).collect::<Vec<_>>());
    assert_eq!(file.objectives, BTreeMap::from([("batch".to_owned(), -2)]));
}

#[test]
fn an_empty_pool_is_a_valid_file() {
    assert_eq!(read("endpoints: []\n", "e.yaml").unwrap(), EndpointsFile::default());
    assert_eq!(read("endpoints:\n", "e.yaml").unwrap(), EndpointsFile::default());
}

/// A file that is being written is empty at first; it must not empty the pool.
#[test]
fn an_empty_file_is_an_error_not_an_empty_pool() {
    for text in ["", " \n", "# endpoints follow\n", "---\n"] {
        let message = read(text, "e.yaml").unwrap_err().to_string();
        assert!(message.ends_with(": the file says nothing; `endpoints: []` is a pool without endpoints"), "{message}");
    }
    let message = read("objectives: []\n", "e.yaml").unwrap_err().to_string();
    assert!(message.starts_with("e.yaml:1:1: `endpoints` is missing"), "{message}");
}

#[test]
fn all_errors_are_reported_at_once_with_their_places() {
    let text = "
endpoints:
- name: a
  address: 10.0.0.256
  port: 80
- name: b
  adress: 10.0.0.1
  port: 70000
- name: c
  address: 10.0.0.1
  port: 80
  labels: {gpus: 8}
objectives:
- name: batch
  priority: low
pools: []
";
    let expected = "\
e.yaml:4:12: endpoints[0].address: \"10.0.0.256\" is no IPv4 or IPv6 address and no host name
e.yaml:6:3: endpoints[1]: `address` is missing
e.yaml:7:3: endpoints[1].adress: no field is called `adress`; did you mean `address`?
e.yaml:8:9: endpoints[1].port: expected a port from 1 to 65535, got the number 70000
e.yaml:12:18: endpoints[2].labels.gpus: expected text (put it in quotes), got the number 8
e.yaml:15:13: objectives[0].priority: expected a whole number of 32 bits, got the text \"low\"
e.yaml:16:1: pools: no field is called `pools`; known are `endpoints` and `objectives`";
    assert_eq!(read(text, "e.yaml").unwrap_err().to_string(), expected);
}

#[test]
fn words_that_yaml_1_1_reads_as_booleans_are_text() {
    let text =
        "endpoints:\n- {name: y, namespace: on, address: off, port: 80, labels: {a: y, b: no, c: on, d: Yes, n: N}}\n";
    let file = read(text, "e.yaml").unwrap();
    let labels: Vec<(&str, &str)> =
        file.endpoints[0].labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(labels, [("a", "y"), ("b", "no"), ("c", "on"), ("d", "Yes"), ("n", "N")]);
    assert_eq!(file.endpoints[0].name, "y");
    let error = read(&text.replace("a: y", "a: true"), "e.yaml").unwrap_err().to_string();
    assert!(error.contains("labels.a: expected text (put it in quotes), got `true`"), "{error}");
}

#[test]
fn two_endpoints_of_one_name_are_an_error_but_not_in_two_namespaces() {
    let one = "- {name: a, address: h, port: 80}\n";
    let other = "- {name: a, namespace: x, address: h, port: 80}\n";
    assert!(read(&format!("endpoints:\n{one}{other}"), "e.yaml").is_ok());
    let twice = read(&format!("endpoints:\n{one}{other}{one}"), "e.yaml").unwrap_err().to_string();
    assert_eq!(twice, "e.yaml:4:3: endpoints[2]: the endpoint `default/a` is there already; names must differ");
    let twice = "objectives: [{name: a, priority: 1}, {name: a, priority: 2}]";
    assert!(read(twice, "e.yaml").unwrap_err().to_string().contains("objective `a` is there already"));
}

#[test]
fn an_address_is_a_host_alone() {
    let hint = "the port stands in `port`";
    assert!(error_about("10.0.0.1:80").contains(hint));
    assert!(error_about("[fd00::1]:80").contains(hint));
    assert!(error_about("http://engine").contains("no host name"));
    assert!(error_about("[10.0.0.1]").contains("no host name"));
    assert!(error_about("-engine").contains("no host name"));
    assert!(error_about("").contains("no host name"));
}

#[test]
fn text_that_is_not_yaml_is_one_error_with_its_place() {
    let errors = read("endpoints:\n- {name: a\n", "e.yaml").unwrap_err();
    assert_eq!(errors.errors().len(), 1, "{errors}");
    assert!(errors.to_string().starts_with("e.yaml:"), "{errors}");
    let message = read("endpoints: []\nendpoints: []\n", "e.yaml").unwrap_err().to_string();
    assert!(message.starts_with("e.yaml:2:1: "), "{message}");
}

#[test]
fn errors_beyond_the_limit_are_counted_and_not_printed() {
    let text = format!("endpoints:\n{}", "- {}\n".repeat(1000));
    let message = read(&text, "e.yaml").unwrap_err().to_string();
    assert_eq!(message.lines().count(), 65);
    assert!(message.ends_with("e.yaml: and 2936 more errors"), "{message}");
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[a-z\\[\\]{}:,&*!|>'\"%@`# \n-]{0,200}") {
        let _ = read(&text, "e.yaml");
    }

    #[test]
    fn every_accepted_host_can_be_an_authority(host in "[a-z0-9.:%/@\\[\\]-]{0,40}") {
        let text = format!("endpoints:\n- {{name: a, address: '{host}', port: 80}}\n");
        if let Ok(file) = read(&text, "e.yaml") {
            let host = &file.endpoints[0].host;
            prop_assert!(!host.contains(['/', '@', '[', ']', '%']) && !host.is_empty());
        }
    }
}
