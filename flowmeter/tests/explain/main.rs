//! `flowmeter explain` as an analyst or a script meets it, on findings that the encoder wrote.
#![expect(
    clippy::unwrap_used,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod input;
mod reports;

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use flowmeter::{
    config::{Config, Schema},
    detect::{Baseline, Confidence, Count, Finding, Period, Phase, Reason, Tag, Visibility},
    emit::Encoder,
};
use serde_json::Value;
use tempfile::TempDir;

const SECOND: u64 = 1_000_000_000;
/// 2026-04-26T11:45:20Z
const START_NS: u64 = 1_777_203_920 * SECOND;

/// A finding with everything in it that any has.
fn finding() -> Finding {
    Finding {
        tag: Tag::Beaconing,
        phase: Phase::Start,
        episode: 0x51d3_9a0c_77e1_42b6,
        sequence: 1,
        source: Some("192.168.56.30".parse().unwrap()),
        destination: Some("203.0.113.99".parse().unwrap()),
        port: Some(4443),
        protocol: Some(6),
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 600 * SECOND,
        score: 87,
        confidence: Confidence::High,
        reasons: vec![
            Reason {
                id: "regular_gaps",
                words: "every 60 s, jitter 1 %".to_owned(),
            },
            Reason {
                id: "rare_destination",
                words: "no other inside host uses it".to_owned(),
            },
        ],
        counts: vec![
            Count::exact("contacts", 11),
            Count {
                name: "distinct_sources",
                value: 120_000,
                error_percent: 2,
                method: "hyperloglog",
            },
            Count::exact("bytes_sent", 5 << 30),
        ],
        ports: vec![4443, 8443],
        hosts: vec!["203.0.113.99".parse().unwrap()],
        open_ports: vec![4443],
        period: Some(Period {
            period_ns: 60 * SECOND,
            jitter_ns: SECOND / 2,
            next_ns: START_NS + 660 * SECOND,
        }),
        baseline: Some(Baseline {
            usual: 2.0,
            observed: 31.0,
            deviation: 14.5,
            unit: "contacts/h",
        }),
        visibility: Visibility {
            one_sided: true,
            lost_packets: 12,
        },
        techniques: vec!["T1071.001", "T1571"],
        settings: vec![("detect.beaconing.jitter_percent", "25".to_owned())],
        suppressed: 3,
        message: "192.168.56.30 has contacted 203.0.113.99 11 times.".to_owned(),
    }
}

/// The line of a finding in the event file.
fn line(schema: Schema, finding: &Finding) -> String {
    let mut config = Config::default();
    config.output.schema = schema;
    config.collector.name = "collector-1".to_owned();
    let mut line = Vec::new();
    Encoder::new(&config).finding(finding, &mut line).unwrap();
    String::from_utf8(line).unwrap() + "\n"
}

fn wazuh4(finding: &Finding) -> String {
    line(Schema::Wazuh4, finding)
}

/// What a Wazuh manager makes of a line: an alert with the event under `data`, numbers and truth values as texts.
fn alert(line: &str) -> String {
    fn texts(value: &mut Value) {
        match value {
            Value::Object(members) => members.values_mut().for_each(texts),
            Value::Number(number) if number.as_u64().is_some_and(|number| number >= 1 << 31) => {
                *value = Value::from(format!("{number}.000000"));
            }
            Value::Number(_) | Value::Bool(_) => *value = Value::from(value.to_string()),
            _ => {}
        }
    }
    let mut event: Value = serde_json::from_str(line).unwrap();
    texts(&mut event);
    let alert = serde_json::json!({
        "timestamp": "2026-04-26T11:55:21.000+0000",
        "rule": {"level": 10, "id": "117003"},
        "decoder": {"name": "json"},
        "data": event,
        "location": "/var/log/netflow/netflow-wazuh.json",
    });
    alert.to_string() + "\n"
}

/// Exit code, standard output, standard error.
fn told(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (status.code().unwrap(), stdout, stderr)
}

/// The binary in an empty environment.
fn flowmeter(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowmeter"));
    command.args(arguments).env_clear();
    command
}

/// What explain says about a file that holds `bytes`; its name as FILE.
fn explain(bytes: impl AsRef<[u8]>) -> (i32, String, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("events.json");
    fs::write(&path, bytes).unwrap();
    let path = path.to_str().unwrap();
    let (code, stdout, stderr) = told(&mut flowmeter(&["explain", path]));
    (code, stdout, stderr.replace(path, "FILE"))
}

/// The reports about what `bytes` holds, without a complaint.
#[track_caller]
fn reports(bytes: impl AsRef<[u8]>) -> String {
    let (code, stdout, stderr) = explain(bytes);
    assert_eq!((code, stderr.as_str()), (0, ""));
    stdout
}

/// What explain says about standard input.
fn piped(bytes: &str) -> (i32, String, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("input");
    fs::write(&path, bytes).unwrap();
    let file = fs::File::open(&path).unwrap();
    told(flowmeter(&["explain", "-"]).stdin(Stdio::from(file)))
}
