//! What it reads, and what it says about what it cannot read.

use serde_json::{Value, json};

use crate::{alert, explain, finding, flowmeter, piped, reports, told, wazuh4};

const FLOW: &str = include_str!("../../../samples/flow-tcp.json");
const STATISTICS: &str = include_str!("../../../samples/statistics.json");

/// Where the value of a dotted name stands.
fn place<'a>(event: &'a mut Value, name: &str) -> &'a mut Value {
    let pointer = format!("/{}", name.replace('.', "/"));
    event.pointer_mut(&pointer).unwrap()
}

#[test]
fn findings_are_found_among_other_events() {
    let report = reports(wazuh4(&finding()));
    assert_eq!(
        reports([FLOW, STATISTICS, "\n", &wazuh4(&finding()), FLOW].concat()),
        report
    );
    assert_eq!(
        reports([alert(FLOW), alert(&wazuh4(&finding()))].concat()),
        report
    );
}

#[test]
fn standard_input_is_read_and_named() {
    let event = wazuh4(&finding());
    assert_eq!(piped(&event), (0, reports(&event), String::new()));
    assert_eq!(
        piped("\n{\"anomaly\":{}}"),
        (
            1,
            String::new(),
            "error: standard input:2: anomaly.tags is missing\n".to_owned()
        )
    );
}

#[test]
fn a_file_without_a_finding_is_an_error() {
    for (text, others) in [("", 0), (FLOW, 1), ("{\"anomaly\":null}", 1)] {
        let message = format!("error: FILE holds no finding; other events: {others}\n");
        assert_eq!(explain(text), (1, String::new(), message));
    }
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let (code, stdout, stderr) = told(&mut flowmeter(&["explain", "/nowhere/finding.json"]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert_eq!(
        stderr,
        "error: cannot read /nowhere/finding.json: No such file or directory (os error 2)\n"
    );
    assert_eq!(told(&mut flowmeter(&["explain"])).0, 2);
}

/// What came before is explained all the same.
#[track_caller]
fn refused(bad: &str, message: &str) {
    let before = wazuh4(&finding());
    let (code, stdout, stderr) = explain([&before, bad].concat());
    assert_eq!(stderr, format!("error: FILE:2: {message}\n"));
    assert_eq!((code, stdout), (1, reports(before)));
}

#[test]
fn what_is_not_json_is_told_with_its_line() {
    refused("{\"anomaly\": nothing}\n", "no JSON, from column 14 on");
    refused("2026-04-26 an old log\n", "no JSON, from column 5 on");
    refused("[1]\n", "no JSON object");
    refused(
        "{\"@timestamp\":\n\n\"2026-",
        "the JSON object that begins here is cut",
    );
}

#[test]
fn a_field_that_is_wrong_is_told_with_its_line_and_name() {
    for (name, value, message) in [
        (
            "anomaly.tags",
            json!(["possible_picnic"]),
            "anomaly.tags names `possible_picnic`, which is no finding of this version",
        ),
        ("anomaly.tags", json!([]), "anomaly.tags is missing"),
        ("anomaly.tags", json!([{}]), "anomaly.tags is no single value"),
        (
            "anomaly.phase",
            json!("middle"),
            "anomaly.phase is `middle`, not start, update or end",
        ),
        ("anomaly.episode", Value::Null, "anomaly.episode is missing"),
        (
            "anomaly.sequence",
            json!(-1),
            "anomaly.sequence is `-1`, not a whole number",
        ),
        (
            "anomaly.sequence",
            json!(1.5),
            "anomaly.sequence is `1.5`, not a whole number",
        ),
        (
            "anomaly.score",
            json!("high"),
            "anomaly.score is `high`, not a whole number",
        ),
        (
            "anomaly.reasons",
            json!(["a"]),
            "anomaly.explanation has 2 entries, anomaly.reasons 1",
        ),
        ("anomaly.counts", json!(3), "anomaly.counts is no object"),
        (
            "anomaly.counts.contacts",
            json!([1]),
            "anomaly.counts.contacts is no single value",
        ),
        (
            "anomaly.ports",
            json!([70_000]),
            "anomaly.ports is `70000`, not a whole number up to 65535",
        ),
        (
            "anomaly.hosts",
            json!(["host"]),
            "anomaly.hosts is `host`, not an IP address",
        ),
        (
            "anomaly.period.next",
            Value::Null,
            "anomaly.period.next is missing",
        ),
        (
            "anomaly.baseline.usual",
            json!("much"),
            "anomaly.baseline.usual is `much`, not a number",
        ),
        (
            "anomaly.visibility.one_sided",
            json!("maybe"),
            "anomaly.visibility.one_sided is `maybe`, not true or false",
        ),
        (
            "event.start",
            json!("yesterday"),
            "event.start is `yesterday`, not a time such as 2026-04-26T12:00:00Z",
        ),
        (
            "source.ip",
            json!("10.0.0.256"),
            "source.ip is `10.0.0.256`, not an IP address",
        ),
        ("message", json!(["a"]), "message is no single value"),
    ] {
        let mut event: Value = serde_json::from_str(&wazuh4(&finding())).unwrap();
        *place(&mut event, name) = value;
        refused(&format!("{event}\n"), message);
        // The event's own place in an alert is named.
        refused(
            &format!("{}\n", json!({"data": event})),
            &format!("data.{message}"),
        );
    }
}
