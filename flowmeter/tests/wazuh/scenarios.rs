//! What `flowmeter generate` makes up, through the rules.

use std::{collections::BTreeMap, process::Command};

use flowmeter::{
    detect::Tag,
    wazuh::{engine::Engine, event::Event, pack},
};
use serde_json::Value;

use crate::rules::rule_of;

/// Flows that are looked at; they are all alike to the rules.
const FLOWS: usize = 500;

/// The rules that an event may fire, by what it says of itself. A third scan by one source may escalate.
fn expected(event: &Value) -> Vec<u32> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let tag = text("/anomaly/tags/0").and_then(Tag::from_name);
    match (text("/event/action").unwrap(), tag, text("/anomaly/phase")) {
        ("network_flow", None, None) => vec![117_040],
        ("statistics", None, None) => vec![117_041],
        ("anomaly_detected", Some(Tag::Overflow), _) => vec![117_025],
        ("anomaly_detected", Some(Tag::PortScan), Some("start")) => vec![117_001, 117_013],
        ("anomaly_detected", Some(tag), Some("start")) => vec![rule_of(tag)],
        ("anomaly_detected", Some(_), Some("update")) => vec![117_010],
        ("anomaly_detected", Some(_), Some("end")) => vec![117_011],
        other => panic!("{other:?} in {event}"),
    }
}

#[test]
fn each_event_of_every_scenario_fires_exactly_its_rule() {
    let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
        .env_clear()
        .args(["generate", "--scenario", "all", "--as", "events"])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let events = String::from_utf8(output.stdout).unwrap();
    let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), pack::scanners())]);
    let (mut engine, _) = Engine::new(pack::rules(true), lists);
    let mut flows = 0;
    for line in events.lines() {
        let parsed: Value = serde_json::from_str(line).unwrap();
        if parsed["event"]["action"] == "network_flow" {
            flows += 1;
            if flows > FLOWS {
                continue;
            }
        }
        let at: jiff::Timestamp = parsed["@timestamp"].as_str().unwrap().parse().unwrap();
        let at = u64::try_from(at.as_second()).unwrap();
        let fired = engine.apply(&Event::decode(line), at).fired.unwrap();
        assert!(expected(&parsed).contains(&fired.id), "{} for {line}", fired.id);
    }
    assert!(flows > FLOWS, "{flows}");
}
