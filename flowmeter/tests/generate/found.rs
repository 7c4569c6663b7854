//! What the detectors make of each scenario, with their default settings.

use std::process::Command;

use flowmeter::generate::SCENARIOS;
use serde_json::Value;

use crate::{events, generate, parsed, text};

fn starts(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .filter(|event| text(event, "/anomaly/phase") == "start")
        .map(|event| text(event, "/anomaly/tags/0"))
        .collect()
}

#[test]
fn every_scenario_is_found_by_its_detector() {
    for scenario in SCENARIOS {
        for ipv6 in [&[][..], &["--ipv6"]] {
            let arguments = [&["--scenario", scenario.name, "--as", "events"], ipv6].concat();
            let events = events(&arguments);
            let found = starts(&events);
            assert!(found.contains(&scenario.tag), "{arguments:?}: {found:?}");
        }
    }
}

#[test]
fn findings_of_made_up_traffic_are_labelled() {
    let events = events(&["--scenario", "port_scan", "--as", "events"]);
    let findings = events
        .iter()
        .filter(|event| text(event, "/event/kind") == "alert");
    let labels: Vec<_> = findings.map(|event| text(event, "/labels/synthetic")).collect();
    assert!(!labels.is_empty());
    assert!(labels.iter().all(|label| *label == "true"));
}

/// A replay tells what is new at once, since nothing was learned before; who wants to learn first can.
#[test]
fn a_replay_learns_first_only_if_it_is_told_to() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let written = generate(&["--scenario", "lateral_movement", "-o", path])
        .output()
        .unwrap();
    assert!(written.status.success());
    let found = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_flowmeter"))
            .args(["replay", "-c", "/dev/null", path])
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        let events = parsed(&String::from_utf8(output.stdout).unwrap());
        starts(&events).contains(&"possible_lateral_movement")
    };
    assert!(found(&[]));
    assert!(!found(&["--set", "detect.learning=1d"]));
}
