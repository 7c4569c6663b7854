//! The Wazuh pack: each event fires exactly its rule, each name is one that the encoder writes, and installing
//! leaves nothing behind that uninstalling does not take away.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the lints' exception for tests does not reach their helper functions"
)]

mod alerts;
mod check;
mod dashboards;
mod fields;
mod folder;
mod install;
mod rules;
mod scenarios;
mod template;
mod wazuh5;

use std::{
    fs,
    path::{Path, PathBuf},
};

use flowmeter::{
    config::{Config, Schema},
    detect::{Confidence, Count, Finding, Phase, Reason, Tag, Visibility},
    emit::Encoder,
};

/// 2026-04-26T11:45:20Z
const START_NS: u64 = 1_777_203_920_000_000_000;
const SECOND: u64 = 1_000_000_000;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    let path = repository(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Name and line of each sample event of the `wazuh4` schema.
fn samples() -> Vec<(String, String)> {
    let mut samples: Vec<_> = fs::read_dir(repository("samples"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            ["flow-", "finding", "statistics"]
                .iter()
                .any(|kind| name.starts_with(kind))
        })
        .filter(|name| name.ends_with(".json") && !name.ends_with(".ecs.json"))
        .map(|name| {
            let line = read(&format!("samples/{name}")).trim_end().to_owned();
            (name, line)
        })
        .collect();
    samples.sort();
    assert!(samples.len() >= 8, "{samples:?}");
    samples
}

fn encoder(schema: Schema) -> Encoder {
    let mut config = Config::default();
    "lab-collector-01".clone_into(&mut config.collector.name);
    config.output.schema = schema;
    Encoder::new(&config)
}

fn finding(tag: Tag, phase: Phase) -> Finding {
    Finding {
        tag,
        phase,
        episode: 0x51d3_9a0c_77e1_42b6,
        sequence: 1,
        source: Some("192.168.56.30".parse().unwrap()),
        destination: Some("203.0.113.99".parse().unwrap()),
        port: Some(443),
        protocol: Some(6),
        first_seen_ns: START_NS,
        last_seen_ns: START_NS + 2 * SECOND,
        score: 70,
        confidence: Confidence::Medium,
        reasons: vec![Reason {
            id: "example",
            words: "possible_port_scan and scan_escalation are words here".to_owned(),
        }],
        counts: vec![Count::exact("packets", 29)],
        ports: Vec::new(),
        hosts: Vec::new(),
        open_ports: Vec::new(),
        period: None,
        baseline: None,
        visibility: Visibility::default(),
        techniques: vec!["T1046"],
        settings: Vec::new(),
        suppressed: 0,
        message: "a message that says \"possible_dos\" of its own".to_owned(),
    }
}

/// What the encoder writes of it.
fn line(finding: &Finding) -> String {
    let mut line = Vec::new();
    encoder(Schema::Wazuh4).finding(finding, &mut line).unwrap();
    String::from_utf8(line).unwrap()
}
