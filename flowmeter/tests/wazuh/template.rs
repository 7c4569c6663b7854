//! `wazuh/netflow-template.json`: numbers, addresses and dates by their kinds in `docs/fields.md`.
//!
//! After a wanted change: `FLOWMETER_BLESS=1 cargo test -p flowmeter --test wazuh` writes it anew.

use std::fs;

use flowmeter::wazuh::event::STATIC;
use serde_json::{Value, json};

use crate::{fields, read, repository};

/// The kind of a field in the index; none: keyword, as Wazuh's own template makes it.
fn mapping(kind: &str) -> Option<&'static str> {
    match kind.split(';').next()? {
        "count" | "integer" | "list of integers" => Some("long"),
        "float" => Some("double"),
        "ip" | "list of ip" => Some("ip"),
        "date" => Some("date"),
        _ => None,
    }
}

fn template() -> Value {
    let mut properties = json!({});
    let mut dynamic = Vec::new();
    for (name, field) in fields::documented() {
        let Some(kind) = mapping(&field.kind) else {
            continue;
        };
        // Those names are shared with every other log that Wazuh takes in, which may not hold an address there.
        if STATIC.contains(&name.as_str()) || name == "@timestamp" {
            continue;
        }
        if let Some(parent) = name.strip_suffix(".*") {
            let rule = format!("netflow_{}", parent.replace('.', "_"));
            let path = format!("data.{name}");
            dynamic.push(
                json!({rule: {"path_match": path, "mapping": {"type": kind, "ignore_malformed": true}}}),
            );
            continue;
        }
        let mut place = &mut properties;
        for part in format!("data.{name}").split('.') {
            place = &mut place["properties"][part];
        }
        *place = json!({"type": kind, "ignore_malformed": true});
    }
    json!({
        "order": 1,
        "index_patterns": ["wazuh-alerts-4.x-*"],
        "mappings": {"dynamic_templates": dynamic, "properties": properties["properties"]},
    })
}

#[test]
fn the_template_maps_every_number_address_and_date() {
    let text = serde_json::to_string_pretty(&template()).unwrap() + "\n";
    if std::env::var_os("FLOWMETER_BLESS").is_some() {
        fs::write(repository("wazuh/netflow-template.json"), &text).unwrap();
    }
    assert_eq!(
        text,
        read("wazuh/netflow-template.json"),
        "if that is wanted, run this test with FLOWMETER_BLESS=1"
    );
}

#[test]
fn the_template_is_a_legacy_one_beside_wazuh_s_own() {
    let template: Value = serde_json::from_str(&read("wazuh/netflow-template.json")).unwrap();
    // A composable template (`template`, `priority`) would take the place of Wazuh's.
    let keys: Vec<_> = template.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["order", "index_patterns", "mappings"]);
    assert_eq!(template["order"], 1, "over Wazuh's, which has 0");
    let data = &template["mappings"]["properties"]["data"]["properties"];
    for (pointer, kind) in [
        ("/network/properties/bytes", "long"),
        ("/network/properties/packets", "long"),
        ("/source/properties/ip", "ip"),
        ("/destination/properties/ip", "ip"),
        ("/destination/properties/port", "long"),
        ("/event/properties/duration", "double"),
        ("/event/properties/start", "date"),
        ("/anomaly/properties/hosts", "ip"),
    ] {
        assert_eq!(data.pointer(pointer).unwrap()["type"], kind, "{pointer}");
    }
    assert_eq!(data.get("srcip"), None);
}
