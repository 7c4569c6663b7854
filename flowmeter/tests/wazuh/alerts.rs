//! `samples/alert-*.json`: what the manager makes of `samples/finding*.json`, derived by applying the rules.
//!
//! After a wanted change: `FLOWMETER_BLESS=1 cargo test -p flowmeter --test wazuh` writes them anew.

use std::{collections::BTreeMap, fs};

use flowmeter::{
    detect::Tag,
    wazuh::{engine::Engine, event::Event, list::List, pack},
};
use serde_json::{Value, json};

use crate::{read, repository};

/// The alert of a line, in the shape of alerts.json.
fn alert(line: &str) -> (u32, Value) {
    let lists = BTreeMap::from([(pack::SCANNERS.path.to_owned(), List::default())]);
    let (mut engine, _) = Engine::new(pack::rules(false), lists);
    let fired = engine.apply(&Event::decode(line), 0).fired.unwrap();
    let rule = engine.rules().iter().find(|rule| rule.id == fired.id).unwrap();
    let groups: Vec<_> = rule.groups.split(',').filter(|group| !group.is_empty()).collect();
    let data: Value = serde_json::from_str(line).unwrap();
    let alert = json!({
        "timestamp": data["@timestamp"],
        "rule": {
            "level": fired.level,
            "description": fired.description,
            "id": fired.id.to_string(),
            "mitre": {"id": rule.techniques},
            "groups": groups,
        },
        "agent": {"id": "001", "name": "lab-collector-01"},
        "manager": {"name": "wazuh-manager"},
        "decoder": {"name": "json"},
        "data": texts(data),
        "location": "/var/log/netflow/netflow-wazuh.json",
        "derived": "by flowmeter's rule test from its encoder's event; not written by a Wazuh manager",
    });
    (fired.id, alert)
}

/// Every value but lists as a text, as the manager writes them.
fn texts(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .map(|(key, value)| (key, texts(value)))
            .collect(),
        Value::Number(_) | Value::Bool(_) => {
            let line = json!({ "value": value }).to_string();
            Event::decode(&line).field("value").unwrap().into()
        }
        other => other,
    }
}

#[test]
fn there_is_one_alert_for_each_rule_of_a_tag() {
    let bless = std::env::var_os("FLOWMETER_BLESS").is_some();
    let mut ids = Vec::new();
    for tag in Tag::ALL.into_iter().filter(|tag| *tag != Tag::Overflow) {
        let sample = match tag {
            Tag::PortScan => "samples/finding.json".to_owned(),
            tag => format!("samples/finding-{}.json", tag.name()),
        };
        let (id, alert) = alert(read(&sample).trim_end());
        ids.push(id);
        let text = format!("{alert}\n");
        let path = repository(&format!("samples/alert-{id}.json"));
        if bless {
            fs::write(&path, &text).unwrap();
        }
        let sample = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            text, sample,
            "samples/alert-{id}.json differs; if that is wanted, run this test with FLOWMETER_BLESS=1"
        );
    }
    assert_eq!(ids, (117_001..=117_009).collect::<Vec<_>>());
}
