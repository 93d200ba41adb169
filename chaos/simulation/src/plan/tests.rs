//! Tests of plans in YAML.
#![allow(clippy::unwrap_used)]

use super::*;

const STORM: &str = "
name: two-halves
duration: 10s
cluster: { replicas: 4, engines: 6, zones: 2, response-path: leave }
traffic: { rate: 20 }
faults:
  - { at: 2s, for: 1500ms, fault: cut, from: zone-0, to: zone-1 }
  - { at: 1s, for: 250ms, fault: kill, who: replica-3 }
  - { at: 3s, for: 1s, fault: delay, from: replicas, to: engines, least: 1ms, most: 20ms }
";

#[test]
fn a_plan_is_read_and_written_without_loss() {
    let plan = Plan::read(STORM, "storm.yaml").unwrap();
    assert_eq!(plan.cluster.response_path, ResponsePath::Leave);
    assert_eq!(plan.traffic.conversations, Traffic::default().conversations);
    let faults: Vec<String> = plan.faults.iter().map(ToString::to_string).collect();
    let expected = [
        "2s +1500ms cut zone-0 <-> zone-1",
        "1s +250ms kill replica-3",
        "3s +1s delay replicas <-> engines 1ms to 20ms",
    ];
    assert_eq!(faults, expected);
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(Plan::read(&json, "plan.json").unwrap(), plan);
}

#[test]
fn places_select_replicas_and_engines() {
    let cluster = Plan::read(STORM, "storm.yaml").unwrap().cluster;
    assert_eq!(Place::Zone(1).replicas(&cluster), [1, 3]);
    assert_eq!(Place::Zone(1).engines(&cluster), [1, 3, 5]);
    assert_eq!(Place::Replica(2).replicas(&cluster), [2]);
    assert!(Place::Gateway.replicas(&cluster).is_empty());
}

#[test]
fn an_error_names_its_place_and_the_valid_values() {
    for (from, to, expected) in [
        ("replica-3", "replica-4", "faults[1]: there is no replica-4; the cluster has 4, counted from 0"),
        ("replica-3", "engine-3", "faults[1]: engine-3 has no replica"),
        ("rate: 20", "rate: 0", "traffic.rate: must be above 0"),
        ("zones: 2", "zones: 0", "cluster.zones: must be 1 to 64, not 0"),
        ("at: 2s", "at: 11s", "faults[0].at: the plan is over after 10s"),
        ("at: 2s", "at: soon", "\"soon\" is not a duration; write 250ms, 1.5s or 2m"),
        ("zone-0", "zone", "\"zone\" is not a place"),
        ("fault: cut", "fault: cutt", "unknown variant `cutt`"),
    ] {
        let error = Plan::read(&STORM.replacen(from, to, 1), "storm.yaml").unwrap_err().to_string();
        assert!(error.contains(expected), "{from} -> {to}: {error}");
    }
}

#[test]
fn every_shipped_plan_is_valid_and_has_the_name_of_its_file() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../plans");
    let mut read = 0;
    for folder in [root.clone(), root.join("scenarios")] {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            let name = path.file_stem().unwrap().to_str().unwrap();
            assert_eq!(Plan::read(&std::fs::read_to_string(&path).unwrap(), name).unwrap().name, name);
            read += 1;
        }
    }
    assert!(read >= 10, "{read}");
}
