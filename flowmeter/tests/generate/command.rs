//! Options, messages, exit codes, files.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use flowmeter::generate::SCENARIOS;

use crate::{events, generate, parsed, text, written};

/// Exit code, standard output, standard error.
fn told(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code().unwrap(), stdout, stderr)
}

#[test]
fn the_help_lists_every_scenario_with_its_tag_and_rule() {
    let help = written(&mut generate(&["--help"]));
    let (_, help) = help.split_once("\nScenarios:\n").unwrap();
    let rows: Vec<Vec<&str>> = help
        .lines()
        .skip(1)
        .take(9)
        .map(|line| line.split_whitespace().take(3).collect())
        .collect();
    assert_eq!(
        rows,
        [
            ["port_scan", "possible_port_scan", "117001"],
            ["high_outbound", "high_outbound_bytes", "117002"],
            ["beaconing", "possible_beaconing", "117003"],
            ["lateral_movement", "possible_lateral_movement", "117004"],
            ["dns", "suspicious_dns_flow", "117005"],
            ["external_inbound", "external_inbound_sensitive", "117006"],
            ["unusual_port", "unusual_outbound_port", "117007"],
            ["dos", "possible_dos", "117008"],
            ["scan_escalation", "scan_escalation", "117009"],
        ]
    );
    for scenario in &SCENARIOS {
        assert!(help.contains(scenario.what), "{}", scenario.name);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for arguments in [
        &[][..],
        &["--scenario", "meteor"],
        &["--scenario", "dos", "--count", "0"],
        &["--scenario", "dos", "--count", "65536"],
        &["--scenario", "dos", "--start", "monday"],
        &["--scenario", "dos", "--start", "1969-12-31T23:59:59Z"],
        &["--scenario", "dos", "--start", "2100-01-01T00:00:01Z"],
        &["--scenario", "dos", "--as", "packets"],
        &["--scenario", "dos", "--speed", "2"],
        &["--scenario", "dos", "--send", "fm-none0", "--speed", "0"],
        &["--scenario", "dos", "--send", "fm-none0", "--speed", "NaN"],
    ] {
        let (code, stdout, stderr) = told(&mut generate(arguments));
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(!stderr.is_empty());
    }
}

#[test]
fn it_begins_when_it_is_told_to_by_default_always_at_the_same_time() {
    let start = |arguments: &[&str]| {
        let events = events(&[&["--scenario", "port_scan", "--count", "1"], arguments].concat());
        text(&events[0], "/event/start").to_owned()
    };
    assert_eq!(start(&[]), "2026-01-05T08:00:00.000000000Z");
    for (told, expected) in [
        ("2026-11-24T07:20:00+00:00", "2026-11-24T07:20:00.000000000Z"),
        (
            "2026-11-24T09:20:00.123456789+02:00",
            "2026-11-24T07:20:00.123456000Z",
        ),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000000Z"),
        ("2100-01-01T00:00:00Z", "2100-01-01T00:00:00.000000000Z"),
    ] {
        assert_eq!(start(&["--start", told]), expected);
    }
}

#[test]
fn hosts_and_schema_are_those_of_the_configuration() {
    let set = [
        "--set",
        "networks.internal=10.20.0.0/16",
        "--set",
        "output.schema=ecs",
    ];
    // Nothing is sampled here, whatever the agent does.
    let sampling = ["--set", "capture.sampling=100"];
    let events = events(&[&["--scenario", "lateral_movement"][..], &set, &sampling].concat());
    for event in events {
        assert_eq!(text(&event, "/source/ip"), "10.20.0.40");
        assert_eq!(text(&event, "/network/direction"), "internal");
        assert_eq!(text(&event, "/labels/synthetic"), "true");
        assert!(event.get("netflow").is_none());
        assert!(event["flow"].get("sampling").is_none());
    }
}

#[test]
fn an_inside_without_room_is_a_bad_configuration() {
    let arguments = ["--scenario", "dos", "--set", "networks.internal=203.0.113.0/24"];
    let (code, stdout, stderr) = told(&mut generate(&arguments));
    assert_eq!((code, stdout.as_str()), (78, ""));
    assert!(stderr.contains("203.0.113.0/24 in networks.internal"), "{stderr}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut child = generate(&["--scenario", "dos"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(parsed(&line).len(), 1);
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn several_may_append_to_one_file_at_once() {
    const WRITERS: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.json");
    fs::write(&path, "{\"already\":\"there\"}\n").unwrap();
    let arguments = [
        "--scenario",
        "dos",
        "--count",
        "2000",
        "-o",
        path.to_str().unwrap(),
    ];
    let children: Vec<_> = (0..WRITERS)
        .map(|_| generate(&arguments).spawn().unwrap())
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let lines = fs::read_to_string(&path).unwrap();
    let events = parsed(&lines);
    assert_eq!(events.len(), 1 + WRITERS * 2000);
    assert_eq!(events[0]["already"], "there");
    assert!(
        events[1..]
            .iter()
            .all(|event| event["labels"]["synthetic"] == "true")
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing was rotated"
    );
}

#[test]
fn a_file_that_cannot_be_made_is_told() {
    for option in ["--pcap", "-o"] {
        let (code, _, stderr) = told(&mut generate(&[
            "--scenario",
            "dns",
            option,
            "/no/such/folder/file",
        ]));
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains("/no/such/folder"), "{stderr}");
    }
}

#[test]
fn finished_events_hold_the_flow_records_too() {
    let form = |form| {
        let (code, stdout, _) = told(&mut generate(&["--scenario", "unusual_port", "--as", form]));
        assert_eq!(code, 0);
        stdout
    };
    let events = form("events");
    let flows = form("flows");
    assert!(flows.lines().count() > 5);
    assert!(
        flows
            .lines()
            .all(|flow| events.lines().any(|event| event == flow))
    );
}
