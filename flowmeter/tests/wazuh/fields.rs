//! Names: every field that a rule, panel, query or template names is one that the encoder writes.
//!
//! `docs/fields.md` stands for the encoder; the test `samples` holds the two together.

use std::collections::BTreeMap;

use flowmeter::wazuh::{event::STATIC, pack, rule::Condition};
use regex::Regex;

use crate::{dashboards, read};

/// A row of `docs/fields.md`.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) kind: String,
    pub(super) when: String,
}

/// The documented fields by name, without those that only the `ecs` schema has.
pub(super) fn documented() -> BTreeMap<String, Field> {
    let page = read("docs/fields.md");
    let row = |line: &str| {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.trim_end_matches('`').to_owned();
        let kind = cells.next()?.to_owned();
        let when = cells.nth(1)?.to_owned();
        Some((name, Field { kind, when }))
    };
    let fields: BTreeMap<_, _> = page
        .lines()
        .filter_map(row)
        .filter(|(_, field)| field.when != "ecs")
        .collect();
    assert!(fields.len() > 100, "{}", fields.len());
    fields
}

/// What the manager adds to an event.
const OF_WAZUH: [&str; 10] = [
    "timestamp",
    "rule.id",
    "rule.level",
    "rule.description",
    "rule.groups",
    "rule.mitre.id",
    "agent.name",
    "agent.id",
    "location",
    "manager.name",
];

/// A field as the index has it.
fn exists(name: &str) -> bool {
    let Some(field) = name.strip_prefix("data.") else {
        return OF_WAZUH.contains(&name);
    };
    let documented = documented();
    documented.contains_key(field)
        || documented
            .keys()
            .filter_map(|name| name.strip_suffix('*'))
            .any(|parent| field.starts_with(parent))
}

/// The names in a query of either language: what stands before a colon or a comparison.
fn names(query: &str) -> Vec<String> {
    let name = Regex::new(r"([@A-Za-z_][@\w.]*)\s*(?::|[<>]=?)").unwrap();
    name.captures_iter(query)
        .map(|found| found[1].to_owned())
        .collect()
}

#[test]
fn rules_name_fields_that_are_written() {
    let documented = documented();
    let in_text = Regex::new(r"\$\(([^)]*)\)").unwrap();
    for rule in pack::rules(true) {
        let conditions = rule.conditions.iter().filter_map(|condition| match condition {
            Condition::Field { name, .. } => Some(name.clone()),
            Condition::List { field, .. } => Some(field.clone()),
            _ => None,
        });
        let described = in_text
            .captures_iter(&rule.description)
            .map(|found| found[1].to_owned());
        for name in conditions.chain(described) {
            assert!(documented.contains_key(&name), "rule {}: {name}", rule.id);
        }
        for name in rule.frequency.iter().flat_map(|frequency| &frequency.same) {
            assert!(
                STATIC.contains(name) && documented.contains_key(*name),
                "rule {}: {name}",
                rule.id
            );
        }
    }
}

#[test]
fn values_that_rules_match_are_documented() {
    let page = read("docs/fields.md");
    let word = Regex::new(r#"^\^?"?([a-z_]+)"?\$?$"#).unwrap();
    let mut seen = 0;
    for rule in pack::rules(true) {
        for condition in &rule.conditions {
            if let Condition::Field { name, text, .. } = condition
                && let Some(found) = word.captures(text)
            {
                let row = page
                    .lines()
                    .find(|line| line.starts_with(&format!("| `{name}` |")));
                let value = format!("`{}`", &found[1]);
                assert!(row.unwrap().contains(&value), "rule {}: {name} {value}", rule.id);
                seen += 1;
            }
        }
    }
    assert!(seen > 12, "{seen}");
}

#[test]
fn panels_and_searches_name_fields_that_are_written() {
    let mut checked = 0;
    for object in dashboards::shipped() {
        for name in dashboards::fields(&object) {
            assert!(exists(&name), "{}: {name}", object["id"]);
            checked += 1;
        }
        for query in dashboards::queries(&object) {
            for name in names(&query) {
                assert!(exists(&name), "{}: {name} in {query}", object["id"]);
                checked += 1;
            }
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn queries_on_the_pack_s_page_name_fields_that_are_written() {
    let page = read("wazuh/README.md");
    let (_, hunting) = page.split_once("## Hunting").unwrap();
    let (hunting, _) = hunting.split_once("\n## ").unwrap_or((hunting, ""));
    let quoted = Regex::new("`([^`]*)`").unwrap();
    let mut checked = 0;
    for row in hunting.lines().filter(|line| line.starts_with("| ")) {
        for query in quoted.captures_iter(row) {
            for name in names(&query[1]) {
                assert!(exists(&name), "{name} in {row}");
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "{checked}");
}

#[test]
fn a_name_that_is_not_written_is_found() {
    assert_eq!(
        names("rule.id:1 and data.nope.x >= 3 OR data.source.bytes:[1 TO *]"),
        ["rule.id", "data.nope.x", "data.source.bytes"]
    );
    assert!(!exists("data.nope.x") && !exists("rule.nope") && exists("data.anomaly.counts.failed_ports"));
}
