//! Captures of a scenario: the same traffic as its events.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{events, generate, parsed, text, written};

/// Flow events without what tells where they come from.
fn bare(events: Vec<Value>) -> Vec<Value> {
    events
        .into_iter()
        .filter(|event| text(event, "/event/action") == "network_flow")
        .map(|mut event| {
            let fields = event.as_object_mut().unwrap();
            fields.remove("labels");
            fields.remove("observer");
            event
        })
        .collect()
}

fn replay(path: &str) -> Vec<Value> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.env_clear();
    let arguments = ["replay", "-c", "/dev/null", "--set", "collector.name=c1", path];
    parsed(&written(command.args(arguments)))
}

#[test]
fn a_replayed_capture_gives_the_generated_events() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.pcap");
    let path = path.to_str().unwrap();
    for ipv6 in [&[][..], &["--ipv6"]] {
        let arguments = [
            &[
                "--scenario",
                "all",
                "--count",
                "40",
                "--start",
                "2026-04-26T11:45:27.123456Z",
            ],
            ipv6,
        ];
        let arguments = arguments.concat();
        assert_eq!(written(generate(&arguments).args(["--pcap", path])), "");
        let generated = bare(events(&arguments));
        let replayed = bare(replay(path));
        assert!(generated.len() > 300);
        assert_eq!(generated.len(), replayed.len());
        for (generated, replayed) in generated.iter().zip(&replayed) {
            assert_eq!(generated, replayed);
        }
    }
}

#[test]
fn events_and_a_capture_can_be_written_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scan.pcap");
    let arguments = ["--scenario", "port_scan", "--pcap", path.to_str().unwrap()];
    assert_eq!(
        written(generate(&arguments).args(["-o", "-"])).lines().count(),
        100
    );
    let capture = fs::read(&path).unwrap();
    assert_eq!(capture[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    // Three ports are open, 77 closed; the open ones get a reset.
    let frames = 100 + (3 + 77) + 3;
    assert_eq!(capture.len(), 24 + frames * (16 + 54));
}
