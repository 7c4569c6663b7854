//! What the detectors make of each scenario, with their default settings.

use flowmeter::generate::SCENARIOS;
use serde_json::Value;

use crate::{events, text};

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
